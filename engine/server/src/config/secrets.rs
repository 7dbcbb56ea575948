//! Secrets out of files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use secrecy::SecretString;

use super::load::Loader;

/// No secret is longer.
const SECRET_BYTES_MAX: u64 = 4_096;

/// Reads `password_file` and `token_file` into the settings, where they are named.
pub(super) fn read_files(loader: &mut Loader) {
    let resp = &mut loader.settings.resp;
    let admin = &mut loader.settings.admin;
    let secrets = [
        ("resp.password", "resp.password_file", resp.password.clone(), resp.password_file.clone()),
        ("admin.token", "admin.token_file", admin.token.clone(), admin.token_file.clone()),
    ];
    for (inline_path, file_path, inline, file) in secrets {
        let Some(file) = file else { continue };
        if inline.is_some() {
            loader.contradict(file_path, format!("{inline_path} is set too: only one of them may be"));
            continue;
        }
        match read(&file) {
            Ok(secret) if file_path.starts_with("resp") => loader.settings.resp.password = Some(secret),
            Ok(secret) => loader.settings.admin.token = Some(secret),
            Err(text) => loader.contradict(file_path, text),
        }
    }
}

/// The secret in the file at `path`; a line end at its end does not count.
///
/// # Errors
/// Why there is none, for people.
pub(crate) fn read(path: &Path) -> Result<SecretString, String> {
    let text = read_text(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(SecretString::from(secret))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if bytes as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("longer than {SECRET_BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}
