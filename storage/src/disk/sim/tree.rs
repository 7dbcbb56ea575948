//! The names of a simulated disk: directories whose entries become durable one `sync_dir` at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::content::{Content, Survival, coin};

pub(super) type Inode = u64;

const ROOT: Inode = 0;

/// Files and directories by inode number.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<Inode, Node>,
    next: Inode,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(File),
    Dir(Dir),
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) content: Content,
    /// Open handles: a file without a name lives until the last is dropped.
    pub(super) handles: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    names: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
    /// What leads from `durable` to `names`, in order.
    unsynced: Vec<Change>,
}

/// A rename is one change: journalling file systems never tear it.
#[derive(Clone, Debug)]
enum Change {
    Link(String, Inode),
    Unlink(String),
    Rename { from: String, to: String, inode: Inode },
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::from([(ROOT, Node::Dir(Dir::default()))]), next: ROOT + 1 }
    }

    pub(super) fn file(&mut self, inode: Inode) -> io::Result<&mut File> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut at = ROOT;
        for name in names(path)? {
            let Some(Node::Dir(dir)) = self.nodes.get(&at) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            at = *dir.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    pub(super) fn is_dir(&self, inode: Inode) -> bool {
        matches!(self.nodes.get(&inode), Some(Node::Dir(_)))
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<Inode> {
        let (parent, name) = self.parent_of(path)?;
        if self.dir(parent)?.names.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.link(parent, name, Node::File(File::default()))
    }

    pub(super) fn create_dirs(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in names(path)? {
            at = match self.dir(at)?.names.get(name) {
                Some(&inode) => inode,
                None => self.link(at, name.to_owned(), Node::Dir(Dir::default()))?,
            };
        }
        self.dir(at).map(drop)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (from_parent, from_name) = self.parent_of(from)?;
        let (to_parent, to_name) = self.parent_of(to)?;
        if let Some(&target) = self.dir(to_parent)?.names.get(&to_name) {
            match self.nodes.get(&target) {
                Some(Node::Dir(dir)) if !dir.names.is_empty() || !self.is_dir(inode) => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        if from_parent == to_parent {
            self.dir(from_parent)?.apply(Change::Rename { from: from_name, to: to_name, inode });
        } else {
            self.dir(from_parent)?.apply(Change::Unlink(from_name));
            self.dir(to_parent)?.apply(Change::Link(to_name, inode));
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        if self.is_dir(inode) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.unlink(path)
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Ok(inode) => {
                self.dir(inode)?;
                self.unlink(path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<(String, bool)>> {
        let inode = self.find(path)?;
        let names: Vec<(String, Inode)> =
            self.dir(inode)?.names.iter().map(|(name, &inode)| (name.clone(), inode)).collect();
        Ok(names.into_iter().map(|(name, inode)| (name, self.is_dir(inode))).collect())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        let dir = self.dir(inode)?;
        let removed = dir.unsynced.iter().any(|change| !matches!(change, Change::Link(..)));
        dir.unsynced.clear();
        dir.durable = dir.names.clone();
        if removed {
            self.collect();
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, survival: &Survival<'_>) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.content.crash(survival),
                Node::Dir(dir) => dir.crash(survival),
            }
        }
    }

    /// Closes every handle.
    pub(super) fn close_handles(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.handles = 0;
            }
        }
        self.collect();
    }

    /// Every file with its size, by path.
    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut todo = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, inode)) = todo.pop() {
            match self.nodes.get(&inode) {
                Some(Node::Dir(dir)) => {
                    todo.extend(dir.names.iter().map(|(name, &inode)| (path.join(name), inode)));
                }
                Some(Node::File(file)) => found.push((path, file.content.len())),
                None => {}
            }
        }
        found.sort_unstable();
        found
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| match node {
                Node::File(file) => file.content.len(),
                Node::Dir(_) => 0,
            })
            .sum()
    }

    fn dir(&mut self, inode: Inode) -> io::Result<&mut Dir> {
        match self.nodes.get_mut(&inode) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn parent_of(&self, path: &Path) -> io::Result<(Inode, String)> {
        let mut names = names(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent: PathBuf = names.iter().collect();
        Ok((self.find(&parent)?, name))
    }

    fn link(&mut self, parent: Inode, name: String, node: Node) -> io::Result<Inode> {
        let inode = self.next;
        self.dir(parent)?.apply(Change::Link(name, inode));
        self.nodes.insert(inode, node);
        self.next += 1;
        Ok(inode)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_of(path)?;
        self.dir(parent)?.apply(Change::Unlink(name));
        Ok(())
    }

    /// Frees what no name leads to, neither now nor after any crash, and no handle holds.
    fn collect(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(inode) = todo.pop() {
            let Some(Node::Dir(dir)) = self.nodes.get(&inode) else { continue };
            todo.extend(dir.inodes().filter(|&inode| reached.insert(inode)));
        }
        self.nodes.retain(|inode, node| {
            reached.contains(inode) || matches!(node, Node::File(file) if file.handles > 0)
        });
    }
}

impl Dir {
    fn apply(&mut self, change: Change) {
        change.apply_to(&mut self.names);
        self.unsynced.push(change);
    }

    fn crash(&mut self, survival: &Survival<'_>) {
        for change in std::mem::take(&mut self.unsynced) {
            let keeps = match survival {
                Survival::Nothing => false,
                Survival::Pieces(dice, _) => coin(dice),
            };
            if keeps {
                change.apply_to(&mut self.durable);
            }
        }
        self.names = self.durable.clone();
    }

    fn inodes(&self) -> impl Iterator<Item = Inode> + '_ {
        let unsynced = self.unsynced.iter().filter_map(|change| match change {
            Change::Link(_, inode) | Change::Rename { inode, .. } => Some(*inode),
            Change::Unlink(_) => None,
        });
        self.names.values().chain(self.durable.values()).copied().chain(unsynced)
    }
}

impl Change {
    fn apply_to(&self, names: &mut BTreeMap<String, Inode>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?),
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
