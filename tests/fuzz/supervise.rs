//! Tries inputs in a child process, each written down before it is tried: whatever the child dies
//! of, or hangs in, the input is there.

use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::mutate::Mutator;
use super::targets::{Target, repository};

/// The longest that one input may take, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The folder in which a child writes down what it tries.
const CHILD: &str = "SWITCHOVER_FUZZ_CHILD";

/// What was tried.
#[derive(Debug)]
pub struct Tried {
    pub first: u64,
    pub inputs: u64,
    pub accepted: u64,
}

/// An input that fails, and how.
#[derive(Debug)]
pub struct Kept {
    pub input: Vec<u8>,
    pub words: String,
}

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The whole of a test of this target, which has its name.
pub fn fuzz(target: Target) {
    if is_child() {
        return try_all(target, Path::new(&std::env::var_os(CHILD).unwrap()));
    }
    match find(target, &[], PATIENCE) {
        Ok(Tried { first, inputs, accepted }) => {
            println!(
                "fuzz: {}, {inputs} inputs from seed {first}, of which {accepted} were accepted",
                target.name
            );
            assert!(
                accepted * 1000 >= inputs * target.floor,
                "{}, seed {first}: of {inputs} inputs {accepted} were accepted, which is less \
                 than {} of 1000: most were refused at once, and what lies behind was not tried",
                target.name,
                target.floor
            );
        }
        Err(Kept { input, words }) => {
            let folder = corpus(target);
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!(
                "failed-{}",
                seed_of(&words).map_or("known".to_owned(), |seed| format!("{seed:x}"))
            ));
            std::fs::write(&path, input).unwrap();
            panic!("{}: {words}\nthe input is kept in {}", target.name, path.display());
        }
    }
}

/// The seed of an input that was made of others.
pub fn seed_of(words: &str) -> Option<u64> {
    words.split("seed ").nth(1)?.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

/// Has a child try inputs, with these variables besides its own.
pub fn find(target: Target, env: &[(&str, &str)], patience: Duration) -> Result<Tried, Kept> {
    let folder = tempfile::tempdir().unwrap();
    let said = std::fs::File::create(folder.path().join("said")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([target.name, "--exact", "--nocapture"])
        .env(CHILD, folder.path())
        .envs(env.iter().copied());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .spawn()
        .unwrap();
    let trying = folder.path().join("trying");
    // Of a file that is being written, only the child could say what is in it: its time of change
    // is enough.
    let changed = || std::fs::metadata(&trying).and_then(|file| file.modified()).ok();
    let (mut last, mut since) = (changed(), Instant::now());
    let end = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.to_string();
        }
        if changed() != last {
            (last, since) = (changed(), Instant::now());
        }
        if since.elapsed() > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            break format!("{patience:?} passed without an answer");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if let Ok(text) = std::fs::read_to_string(folder.path().join("tried")) {
        let mut numbers = text.split(' ').map(|word| word.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        return Ok(Tried { first: next(), inputs: next(), accepted: next() });
    }
    let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
    let bytes = std::fs::read(&trying)
        .unwrap_or_else(|error| panic!("{} tried nothing: {error}; {end}\n{said}", target.name));
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut line = || String::from_utf8(parts.next().unwrap().to_vec()).unwrap();
    let (about, length) = (line(), line().parse().unwrap());
    let input = parts.next().unwrap()[..length].to_vec();
    Err(Kept { input, words: format!("{about}: {end}\n{said}") })
}

/// The child: tries what is known, and then changes of it until there are enough.
fn try_all(target: Target, folder: &Path) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = number("SWITCHOVER_FUZZ_SECONDS").map(Duration::from_secs);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let first = number("SWITCHOVER_FUZZ_SEED").unwrap_or_else(|| now() % 1_000_000_000);
    let mut accepted = 0;
    let trying = std::fs::File::create(folder.join("trying")).unwrap();
    let mut attempt = |bytes: &[u8], about: &str| {
        // With one write and its length, as the end of a longer one may stand behind it.
        trying
            .write_all_at(&[format!("{about}\n{}\n", bytes.len()).as_bytes(), bytes].concat(), 0)
            .unwrap();
        // What it says of itself stands in the child's output.
        match catch_unwind(AssertUnwindSafe(|| (target.accepts)(bytes))) {
            Ok(is_good) => accepted += u64::from(is_good),
            Err(_) => std::process::exit(1),
        }
    };
    let mut seeds = (target.seeds)();
    seeds.iter().for_each(|bytes| attempt(bytes, "a good input"));
    for path in known(target) {
        let bytes = std::fs::read(&path).unwrap();
        attempt(&bytes, &format!("known from earlier, {}", path.display()));
        seeds.push(bytes);
    }
    let (begun, mut tried) = (Instant::now(), 0);
    while time.map_or(tried < target.tries, |time| begun.elapsed() < time) {
        let seed = first.wrapping_add(tried);
        attempt(&Mutator::new(seed).change(&seeds), &format!("seed {seed}"));
        tried += 1;
    }
    std::fs::write(folder.join("tried"), format!("{first} {tried} {accepted}")).unwrap();
}

fn corpus(target: Target) -> PathBuf {
    repository().join("tests/fuzz/corpus").join(target.name)
}

/// In the order of their names, as the seed alone must make an input again.
fn known(target: Target) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(corpus(target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
