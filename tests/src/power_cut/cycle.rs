//! One cut: write, cut, kill, mount again, check.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use quorate::StoreKind;

use super::value::KEYS;
use super::volume::Volume;
use super::{Error, io};

/// What the parent knows of the keys. Survives the cuts, as the parent does.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// By key: the number of the newest write that is known to be durable.
    durable: BTreeMap<u64, u64>,
    /// By key: a write that was tried after it, with an unknown outcome.
    tried: BTreeMap<u64, u64>,
    /// Writes whose acknowledgement was read after the cut had begun. They count as the others do; but of a file system
    /// that says that a sync has succeeded while it is being shut down, a violation here says less of the log.
    late: BTreeSet<u64>,
    /// The first number that was never tried.
    pub(super) next: u64,
}

/// How the children are started.
#[derive(Debug)]
pub(super) struct Children<'a> {
    pub(super) store: StoreKind,
    pub(super) boot_id: &'a Path,
    pub(super) lying_log: bool,
}

/// Acknowledged writes of one cycle, and what the check found.
#[derive(Debug)]
pub(super) struct Cycle {
    pub(super) acknowledged: usize,
    pub(super) violations: Vec<String>,
}

impl Truth {
    /// Whether `line` acknowledges a write.
    fn note(&mut self, line: &str, is_cut: bool) -> Result<bool, Error> {
        let malformed = || Error::Protocol { line: line.to_owned() };
        let (word, number) = line.split_once(' ').ok_or_else(malformed)?;
        let number: u64 = number.parse().map_err(|_| malformed())?;
        let key = number % KEYS;
        match word {
            "try" => {
                self.tried.insert(key, number);
                self.next = self.next.max(number + 1);
                Ok(false)
            }
            "ack" => {
                self.tried.remove(&key);
                self.durable.insert(key, number);
                if is_cut {
                    self.late.insert(number);
                }
                Ok(true)
            }
            _ => Err(malformed()),
        }
    }

    /// What key may hold now.
    fn allowed(&self, key: u64) -> String {
        let durable = self.durable.get(&key).map_or_else(|| "-".to_owned(), u64::to_string);
        match self.tried.get(&key) {
            Some(tried) => format!("{durable} {tried}"),
            None => durable,
        }
    }

    /// Whether the write that the violation in `line` is about was acknowledged after the cut had begun.
    fn is_late(&self, line: &str) -> bool {
        let key = line.split(' ').nth(1).and_then(|key| key.parse::<u64>().ok());
        let lost = key.and_then(|key| self.durable.get(&key));
        lost.is_some_and(|number| self.late.contains(number))
    }

    /// What was found is what is durable from now on.
    fn settle(&mut self, line: &str) -> Result<(), Error> {
        let malformed = || Error::Protocol { line: line.to_owned() };
        let mut words = line.split(' ');
        let (word, key) = (words.next(), words.next().and_then(|key| key.parse::<u64>().ok()));
        let key = key.ok_or_else(malformed)?;
        self.tried.remove(&key);
        if word == Some("found") {
            let number = words.next().and_then(|number| number.parse().ok()).ok_or_else(malformed)?;
            self.durable.insert(key, number);
        }
        Ok(())
    }
}

/// Cuts the power after `acks` acknowledged writes of this cycle, and checks. `reboot` runs between.
pub(super) fn cycle(
    volume: &mut Volume,
    children: &Children<'_>,
    truth: &mut Truth,
    acks: usize,
    reboot: impl FnOnce() -> Result<(), Error>,
) -> Result<Cycle, Error> {
    let acknowledged = write_until_cut(volume, children, truth, acks)?;
    volume.unmount()?;
    reboot()?;
    volume.mount()?;
    let violations = check(volume, children, truth)?;
    Ok(Cycle { acknowledged, violations })
}

fn write_until_cut(
    volume: &Volume,
    children: &Children<'_>,
    truth: &mut Truth,
    acks: usize,
) -> Result<usize, Error> {
    let mut child = spawn("write", volume, children, truth.next)?;
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut acknowledged = 0;
    let mut is_cut = false;
    while let Some(line) = lines.next().transpose().map_err(io("cannot read from the writer"))? {
        if line == "open" {
            continue;
        }
        acknowledged += usize::from(truth.note(&line, is_cut)?);
        if acknowledged == acks && !is_cut {
            volume.cut()?;
            is_cut = true;
            child.kill().map_err(io("cannot kill the writer"))?;
        }
    }
    let said = end(child)?;
    if is_cut { Ok(acknowledged) } else { Err(Error::Writer { acknowledged, said }) }
}

fn check(volume: &Volume, children: &Children<'_>, truth: &mut Truth) -> Result<Vec<String>, Error> {
    let mut child = spawn("check", volume, children, truth.next)?;
    let questions: Vec<String> = (0..KEYS).map(|key| format!("{key} {}\n", truth.allowed(key))).collect();
    let questions = questions.concat();
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // From a thread: the pipes are smaller than what goes through them.
    let asking = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let mut violations = Vec::new();
    let mut is_complete = false;
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        let line = line.map_err(io("cannot read from the checker"))?;
        if line == "checked" {
            is_complete = true;
        } else if line.starts_with("violation ") {
            let when = if truth.is_late(&line) { "after the cut had begun" } else { "before the cut" };
            violations.push(format!("{line}; acknowledged {when}"));
        } else {
            truth.settle(&line)?;
        }
    }
    let said = end(child)?;
    drop(asking.join());
    if !is_complete {
        violations.push(format!("the node did not start or did not answer: {said}"));
    }
    Ok(violations)
}

fn spawn(mode: &str, volume: &Volume, children: &Children<'_>, first: u64) -> Result<Child, Error> {
    let own = std::env::current_exe().map_err(io("own path"))?;
    let mut command = Command::new(own);
    command.arg(mode).arg("--data").arg(volume.path().join("node"));
    command.args(["--store", &children.store.to_string(), "--first", &first.to_string()]);
    command.arg("--boot-id").arg(children.boot_id);
    if children.lying_log {
        command.arg("--lying-log");
    }
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    pipes.spawn().map_err(io("cannot start a child"))
}

/// Makes sure that it is gone, and tells what it complained of.
fn end(mut child: Child) -> Result<String, Error> {
    drop(child.kill());
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        drop(stderr.read_to_string(&mut said));
    }
    child.wait().map_err(io("cannot wait for a child"))?;
    Ok(said)
}
