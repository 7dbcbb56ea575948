mod bad;
mod good;
mod judges;
mod limits;
mod random;
mod script;
