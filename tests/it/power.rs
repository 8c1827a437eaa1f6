//! A loss of power at every moment of a run: what was not synced is there in part or not at all, no
//! process lives on, and the machine has begun anew. What is left is then opened, and some of it
//! taken up, and held against what the steps did to the world.

mod disk;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sandbox::{Sandbox, kill, wait_until};
use super::shim::Shim;
use disk::{Call, Chance, Disk, Left};
use switchover::effect::{Attempt, Known};
use switchover::journal::{Journal, JournalError};
use switchover::run::Fact;

/// None is idempotent. What each does to the world is a line of the recording, in its order.
const BOOK: &str = r#"runbook: power
locks: [shop]
messages: { start: m, success: m, rollback_began: m, rolled_back: m }
env:
  B: 'echo "witness begin $SWITCHOVER_STEP $SWITCHOVER_DIRECTION $SWITCHOVER_ATTEMPT" >> "$W"'
  E: 'echo "witness end $SWITCHOVER_STEP $SWITCHOVER_DIRECTION $SWITCHOVER_ATTEMPT" >> "$W"'
phases:
  p:
    steps:
      s0: { needs: [], run: 'eval "$B"; echo out=1 | dd of="$SWITCHOVER_OUTPUT" status=none; eval "$E"', undo: { run: 'eval "$B"; eval "$E"' } }
      s1: { needs: [s0], run: 'eval "$B"; sleep ${SLOWLY:-0}; eval "$E"', undo: { run: 'eval "$B"; eval "$E"' } }
      s2: { needs: [s0], run: 'eval "$B"; eval "$E"', undo: { run: 'eval "$B"; eval "$E"' } }
      s3: { needs: [s1, s2], env: { OUT: "{{ steps.s0.out }}" }, run: 'eval "$B"; test "$OUT" = 1; eval "$E"', undo: { run: 'eval "$B"; eval "$E"' } }
"#;
const STEPS: [&str; 4] = ["p/s0", "p/s1", "p/s2", "p/s3"];

type IsMeant<'a> = &'a dyn Fn(&Path) -> bool;

/// A run whose executor is killed, that is taken up, ends, and goes back.
struct Recording {
    sandbox: Sandbox,
    calls: Vec<Call>,
    /// The folder that holds the journal's.
    number: String,
    /// With which call the way back begins.
    back: usize,
    hashes: Vec<String>,
}

impl Recording {
    fn make() -> Recording {
        static SHIM: OnceLock<Shim> = OnceLock::new();
        let source = || {
            std::fs::read_to_string(super::sandbox::repository().join("tests/shim/record.c"))
                .unwrap()
        };
        let shim = SHIM.get_or_init(|| Shim::of("record", &source()));
        let sandbox = Sandbox::with(BOOK);
        sandbox.write("templates/m.txt", "Subject: {{runbook.name}}\n\n{{direction}}\n");
        // Its path begins with the witness's, by which the sandbox knows its processes.
        let to = sandbox.path("witness.recorded").display().to_string();
        let env = |slowly: &str| {
            let programs = "switchover,dd".to_owned();
            [
                shim.preload(),
                ("RECORD_TO", to.clone()),
                ("RECORD_PROGRAMS", programs),
                ("W", to.clone()),
                ("SLOWLY", slowly.to_owned()),
            ]
        };
        let recorded = || sandbox.read("witness.recorded");
        let child = sandbox.start_heard("run book.yaml --parallel 2", &env("0.5"));
        wait_until("the beginning of s1", || recorded().contains("\nwitness begin p/s1 "));
        kill(child);
        sandbox.assert_quiet();
        assert_eq!(sandbox.code_with("resume", &env("0")), 0);
        let back = recorded().lines().count();
        assert_eq!(sandbox.code_with("rollback", &env("0")), 4);
        sandbox.assert_quiet();
        let found = std::fs::metadata(sandbox.path("")).unwrap();
        let journal = Journal::open_to_read(&sandbox.path("journal")).unwrap();
        let hashes = journal.load(&journal.find(None).unwrap()).unwrap().hashes;
        let lines = recorded();
        let back = disk::read(
            &lines.lines().take(back).map(|line| format!("{line}\n")).collect::<String>(),
            &sandbox.path(""),
        )
        .len();
        Recording {
            calls: disk::read(&lines, &sandbox.path("")),
            number: format!("{}:{}", found.dev(), found.ino()),
            sandbox,
            back,
            hashes,
        }
    }

    fn disk(&self) -> Disk {
        Disk::of(self.number.clone())
    }

    /// The same, had it not synced what lies at such a path.
    fn without_syncs(self, is_meant: IsMeant) -> Recording {
        let mut disk = self.disk();
        let mut calls = Vec::new();
        for call in self.calls {
            disk.take(&call);
            let is_lost = matches!(
                &call,
                Call::Sync { number } if disk.path_of(number).is_some_and(|path| is_meant(&path))
            );
            if !is_lost {
                calls.push(call);
            }
        }
        Recording { calls, ..self }
    }
}

#[test]
fn nothing_is_ordered_before_all_that_it_rests_on_is_synced() {
    let recording = Recording::make();
    let (mut disk, mut orders) = (recording.disk(), 0);
    for call in &recording.calls {
        if matches!(call, Call::Send(bytes) if bytes.starts_with(b"{\"Begin\"")) {
            orders += 1;
            let run = disk.folder_of_the_run();
            for name in ["switchover.db", "switchover.db-wal", "uuid", "outbox"] {
                assert_eq!(
                    disk.uncertain(&Path::new("journal").join(name)),
                    None,
                    "before order {orders}"
                );
            }
            for name in ["anchor", "fallback", "logs"] {
                assert_eq!(disk.uncertain(&run.join(name)), None, "before order {orders}");
            }
        }
        disk.take(call);
    }
    assert_eq!(orders, 2 * STEPS.len());
}

#[test]
fn a_loss_of_power_at_any_moment_loses_nothing_and_does_nothing_twice() {
    let (seed, losses) = (
        given("SWITCHOVER_SEED").unwrap_or(u64::from(std::process::id())),
        given("SWITCHOVER_LOSSES").unwrap_or(10_000),
    );
    let recording = Recording::make();
    let (wrong, different) = replay(&recording, seed, losses as usize);
    assert!(
        wrong.is_empty(),
        "SWITCHOVER_SEED={seed}: {} of {losses}, such as\n{}",
        wrong.len(),
        first(&wrong)
    );
    let resumed = take_up(&recording, seed, losses as usize / 50);
    #[expect(clippy::print_stdout, reason = "with --show-output, it says what was tried")]
    {
        println!(
            "power: {losses} losses replayed, {different} of them different, {resumed} resumed \
             (SWITCHOVER_SEED={seed})"
        );
    }
}

#[test]
fn a_journal_that_is_not_synced_does_not_outlive_a_loss_of_power() {
    let folder = |path: &Path| {
        path == Path::new("") || path == Path::new("journal") || path == Path::new("journal/runs")
    };
    let syncs: [(&str, IsMeant); 5] = [
        ("nothing", &|_| true),
        ("the WAL", &|path| path.ends_with("switchover.db-wal")),
        ("the anchor", &|path| path.ends_with("anchor")),
        ("the folders", &folder),
        ("the messages", &|path| path.starts_with("journal/outbox")),
    ];
    for (what, is_meant) in syncs {
        let recording = Recording::make();
        let all = recording.calls.len();
        let recording = recording.without_syncs(is_meant);
        assert!(recording.calls.len() < all, "{what} was not synced anyway");
        assert!(!replay(&recording, 1, 500).0.is_empty(), "without syncs of {what} all is well");
    }
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn first(wrong: &[String]) -> String {
    let mut seen = HashSet::new();
    let new = wrong.iter().filter(|wrong| {
        seen.insert(
            wrong.split_once(": ").map_or("", |(_, why)| why).chars().take(40).collect::<String>(),
        )
    });
    new.take(8).cloned().collect::<Vec<_>>().join("\n")
}

/// At which call the power is lost, and the chance of what is left.
fn moment(recording: &Recording, seed: u64, number: usize) -> (usize, Chance) {
    let mut chance = Chance::of(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
    (chance.below(recording.calls.len() + 1), chance)
}

/// Loses the power so many times and opens what is left; what is wrong with that, and how often
/// something else was left.
fn replay(recording: &Recording, seed: u64, losses: usize) -> (Vec<String>, usize) {
    let (hasher, different) = (RandomState::new(), AtomicUsize::new(0));
    let mut moments: Vec<_> =
        (0..losses).map(|number| (moment(recording, seed, number), number)).collect();
    moments.sort_by_key(|((at, _), _)| *at);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut shares: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    for (turn, moment) in moments.into_iter().enumerate() {
        shares[turn % threads].push(moment);
    }
    let judge_all = |share: Vec<((usize, Chance), usize)>| {
        let mut wrong = Vec::new();
        let mut disk = recording.disk();
        let (mut taken, mut seen) = (0, HashSet::new());
        for ((at, mut chance), number) in share {
            recording.calls[taken..at].iter().for_each(|call| disk.take(call));
            taken = at;
            let left = disk.lose(&mut chance);
            let same = BuildHasher::hash_one(&hasher, (at, &left));
            if !seen.insert(same) {
                continue;
            }
            different.fetch_add(1, Ordering::Relaxed);
            let folder = in_memory();
            put(&left, folder.path());
            began_anew(&folder.path().join("journal"));
            if let Err(why) = judge(folder.path(), recording, at) {
                wrong.push(format!(
                    "loss {number}, after call {at} of {}: {why}",
                    recording.calls.len()
                ));
            }
        }
        wrong
    };
    let wrong = std::thread::scope(|scope| {
        let threads: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(|| judge_all(share))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (wrong, different.into_inner())
}

/// A folder that goes, on no disk if there is such a place.
fn in_memory() -> tempfile::TempDir {
    let place = Path::new("/dev/shm");
    if place.is_dir() { tempfile::tempdir_in(place).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn put(left: &Left, to: &Path) {
    for (path, bytes) in left {
        match bytes {
            Some(bytes) => std::fs::write(to.join(path), bytes).unwrap(),
            None => std::fs::create_dir(to.join(path)).unwrap(),
        }
    }
}

/// What the steps had done to the world by then.
fn world(recording: &Recording, at: usize) -> Vec<&str> {
    recording.calls[..at]
        .iter()
        .filter_map(|call| if let Call::Witness(line) = call { Some(line.as_str()) } else { None })
        .collect()
}

/// Holds what is left against the world: what has begun is known, vouched for, and not taken for
/// what never began.
fn judge(folder: &Path, recording: &Recording, at: usize) -> Result<(), String> {
    let world = world(recording, at);
    let begun: Vec<&str> = world.iter().filter_map(|line| line.strip_prefix("begin ")).collect();
    let told = |error: JournalError| error.to_string();
    let folder = folder.join("journal");
    if !begun.is_empty() && !folder.is_dir() {
        return Err(format!("there is no journal, and {begun:?} had begun"));
    }
    let journal = Journal::open(&folder).map_err(told)?;
    let run = match journal.find(None) {
        Err(JournalError::Empty) if begun.is_empty() => return Ok(()),
        run => run.map_err(told)?,
    };
    let loaded = journal.load(&run).map_err(told)?;
    if !recording.hashes.starts_with(&loaded.hashes) {
        return Err("its events are not those that were written".to_owned());
    }
    if loaded.state.started.journal != journal.uuid().map_err(told)? {
        return Err("the journal has another UUID".to_owned());
    }
    let known = Known::in_folder(&journal.run_folder(&run)).map_err(|error| error.to_string())?;
    for line in &begun {
        let started = loaded.events.iter().find_map(|event| match &event.fact {
            Fact::StepStarted(started)
                if format!("{} {} {}", started.step, started.direction.word(), started.attempt)
                    == **line =>
            {
                Some((event.number, Attempt { key: started.key.clone(), number: started.attempt }))
            }
            _ => None,
        });
        let Some((number, attempt)) = started else {
            return Err(format!("the journal does not know that {line} began"));
        };
        if loaded.anchored < number {
            return Err(format!("the anchor does not vouch for the beginning of {line}"));
        }
        let state = &loaded.state;
        let is_it = |(ix, way): &&(_, _)| {
            state.idempotency_key(*ix, *way) == attempt.key
                && state.attempts(*ix, *way) == attempt.number
        };
        let Some((ix, way)) = state.sets.running.iter().find(is_it) else { continue };
        if let Some(over) = known.end(&attempt)
            && line.starts_with(&format!("{} forward", STEPS[0]))
        {
            let output = std::fs::read_to_string(
                journal.attempt_files(state, *ix, *way, attempt.number).path("output"),
            );
            if !output.as_ref().is_ok_and(|output| output == "out=1\n") {
                return Err(format!(
                    "{line} counts as ended with {over:?}, and its output is {output:?}"
                ));
            }
        }
        // What the last session has not begun itself is known to run.
        if !state.sets.inherited.contains(&(*ix, *way))
            && known.never_began(&attempt, state.session)
        {
            return Err(format!("the keepers' records are taken to prove that {line} never began"));
        }
    }
    let room =
        std::fs::metadata(journal.run_folder(&run).join("fallback")).map_or(0, |found| found.len());
    if !begun.is_empty() && room < 64 << 10 {
        return Err(format!("results that cannot be journaled have a room of {room} bytes"));
    }
    for event in &loaded.events {
        if let Fact::MessageSent(sent) = &event.fact {
            let bytes = std::fs::read(folder.join(&sent.file)).unwrap_or_default();
            if switchover::journal::sha256(&bytes) != sent.digest {
                return Err(format!(
                    "the message {} is said to have been sent, and is not what was",
                    sent.file
                ));
            }
        }
    }
    Ok(())
}

/// Loses the power so many times, and takes the run up with the program; how often there was
/// something to take up.
fn take_up(recording: &Recording, seed: u64, losses: usize) -> usize {
    let (next, resumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= losses {
                    break;
                }
                let (at, mut chance) = moment(recording, seed, number);
                let mut disk = recording.disk();
                recording.calls[..at].iter().for_each(|call| disk.take(call));
                let sandbox = Sandbox::with(BOOK);
                sandbox.write("templates/m.txt", recording.sandbox.read("templates/m.txt"));
                put(&disk.lose(&mut chance), &sandbox.path(""));
                // Where the locks usually lie, nothing outlives a loss of power; elsewhere it may.
                if number % 2 == 0 && sandbox.path("locks").exists() {
                    std::fs::remove_dir_all(sandbox.path("locks")).unwrap();
                }
                began_anew(&sandbox.path("journal"));
                sandbox.write(
                    "witness",
                    world(recording, at)
                        .iter()
                        .map(|line| format!("witness {line}\n"))
                        .collect::<String>(),
                );
                let about = format!(
                    "SWITCHOVER_SEED={seed}, loss {number}, after call {at} of {}",
                    recording.calls.len()
                );
                go_on(&sandbox, at >= recording.back, &about);
                resumed.fetch_add(1, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why)));
    });
    resumed.into_inner()
}

/// Makes what keepers recorded speak of the machine before it began anew.
fn began_anew(journal: &Path) {
    let boot =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let earlier: String = boot.chars().rev().collect();
    for record in records(journal) {
        let bytes = std::fs::read(&record).unwrap();
        let lines =
            bytes.split_inclusive(|byte| *byte == b'\n').flat_map(
                |line| match std::str::from_utf8(line) {
                    Ok(text) if text.contains(&boot) && text.ends_with('\n') => {
                        let (check, text) = text.trim_end().split_once(' ').unwrap();
                        // One that was torn stays as it is.
                        match check_of(text) == check {
                            true => {
                                let text = text.replace(&boot, &earlier);
                                format!("{} {text}\n", check_of(&text)).into_bytes()
                            }
                            false => line.to_vec(),
                        }
                    }
                    _ => line.to_vec(),
                },
            );
        std::fs::write(&record, lines.collect::<Vec<u8>>()).unwrap();
    }
}

fn check_of(text: &str) -> String {
    switchover::journal::sha256(text.as_bytes()).0[..16].to_owned()
}

fn records(journal: &Path) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(journal.join("runs")).into_iter().flatten();
    let files = runs.flat_map(|run| std::fs::read_dir(run.unwrap().path()).into_iter().flatten());
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("commands-"))
        .collect()
}

/// Takes the run up until it is over, answering with the truth, and holds the world against what it
/// should be.
fn go_on(sandbox: &Sandbox, back: bool, about: &str) {
    let (verb, over) = if back { ("rollback", 4) } else { ("resume", 0) };
    let (mut said, mut answered, mut is_over) = (Vec::new(), HashSet::new(), false);
    for _ in 0..12 {
        let has_run = sandbox.code("status") == 0;
        assert!(has_run || sandbox.witness().is_empty(), "{about}: {}", sandbox.run("status"));
        let shown = sandbox.run(if has_run { verb } else { "run book.yaml" });
        is_over =
            shown.ends_with(&format!("exit {over}")) || (back && sandbox.code("resume") == over);
        said.push(shown);
        if is_over {
            break;
        }
        answer(sandbox, &mut answered);
    }
    let said = said.join("\n---\n");
    assert!(is_over, "{about}: it does not end\n{said}");
    let shown = sandbox.run("audit");
    assert!(shown.contains("whole:"), "{about}: {shown}");
    let seen = sandbox.witness();
    for step in STEPS {
        for way in if back { &["forward", "undo"][..] } else { &["forward"] } {
            let of = |word: &str| {
                seen.iter()
                    .filter(|line| line.starts_with(&format!("witness {word} {step} {way} ")))
                    .collect::<Vec<_>>()
            };
            assert_eq!(of("end").len(), 1, "{about}: {step} {way} in {seen:?}\n{said}");
            // Begun again only after somebody looked and said that it was not done.
            let again = usize::from(answered.contains(&format!("{step} {way}")));
            let begun: HashSet<_> = of("begin").into_iter().collect();
            assert!(
                begun.len() == of("begin").len() && (1..=1 + again).contains(&begun.len()),
                "{about}: {step} {way} in {seen:?}\n{said}"
            );
        }
    }
}

/// A person looks at the world, and says truthfully what happened; remembers what was not done.
fn answer(sandbox: &Sandbox, answered: &mut HashSet<String>) {
    let state = sandbox.json("status --format json");
    let way = if state["direction"] == "forward" { "forward" } else { "undo" };
    for step in
        state["steps"].as_array().into_iter().flatten().filter(|step| step["state"] == "in doubt")
    {
        let name = step["id"].as_str().unwrap();
        let is_done = sandbox
            .witness()
            .iter()
            .any(|line| line.starts_with(&format!("witness end {name} {way} ")));
        if !is_done {
            answered.insert(format!("{name} {way}"));
        }
        let verdict = match is_done {
            true if name == STEPS[0] => "done --set out=1",
            true => "done",
            false => "not-done",
        };
        sandbox.code(&format!("resolve {name} --as {verdict} --reason looked"));
    }
}
