//! Every byte of a small journal is changed, and every file cut off at every length. What is read
//! back is exactly what was written, or it is refused; nothing in between, and nothing breaks.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use switchover::effect::{Attempt, Known};
use switchover::journal::{Holder, Journal, JournalError, Loaded};
use switchover::run::{Event, Fact, Moment, Person, StepSucceeded};
use switchover::runbook::{Direction, StepIx};

use super::sandbox::{Sandbox, children, kill, signal, wait_until};

const BOOK: &str = r#"runbook: count
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: none }
      b: { run: 'echo begin-b >> "$W"; while [ -e hold ]; do sleep 0.02; done; echo end-b >> "$W"', undo: none }
      c: { run: 'echo c >> "$W"', undo: none }
"#;

/// A journal as it lies on the disk, with one run.
struct Written {
    run: String,
    files: BTreeMap<String, Vec<u8>>,
}

/// A change of one file.
#[derive(Debug, Clone, Copy)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
}

#[test]
fn a_changed_database_wal_or_anchor_is_read_as_it_was_or_refused() {
    let mut tried = 0;
    for (number, written) in
        [Written::of(&stopped()), Written::of(&killed())].into_iter().enumerate()
    {
        let whole = written.state();
        for name in
            written.files.keys().filter(|name| name.contains(".db") || name.ends_with("anchor"))
        {
            let length = written.files[name].len();
            // Of each byte the lowest bit or the highest; in the other journal the other one.
            let flips = (0..length).map(|at| {
                Change::Flip(at, if (at + number).is_multiple_of(2) { 0x01 } else { 0x80 })
            });
            let changes: Vec<Change> = (0..length).map(Change::Cut).chain(flips).collect();
            tried += changes.len();
            on_all_cores(&changes, |folder, change| {
                written.lay_out(folder, name, *change);
                if let Ok(seen) = read(folder, &written.run) {
                    assert!(seen == whole, "{name} {change:?}: {seen}");
                }
            });
        }
    }
    report("changes of database, WAL and anchor", tried);
}

#[test]
fn a_changed_database_or_wal_is_taken_up_as_it_was_or_refused() {
    let mut tried = 0;
    for written in [Written::of(&stopped()), Written::of(&killed())] {
        let whole = written.state();
        for name in ["switchover.db", "switchover.db-wal"]
            .into_iter()
            .filter(|name| written.files.contains_key(*name))
        {
            let length = written.files[name].len();
            // Every bit of the header, which says how to read the rest; of that, a sample.
            let header = (0..100).flat_map(|at| (0..8).map(move |bit| Change::Flip(at, 1 << bit)));
            let flips = (100..length)
                .step_by(7)
                .map(|at| Change::Flip(at, if at % 2 == 0 { 0x01 } else { 0x80 }));
            let changes: Vec<Change> =
                header.chain(flips).chain((0..length).step_by(61).map(Change::Cut)).collect();
            tried += changes.len();
            on_all_cores(&changes, |folder, change| {
                written.lay_out(folder, name, *change);
                if let Ok(seen) = take(folder, &written.run) {
                    assert!(seen == whole, "{name} {change:?}: {seen}");
                }
            });
        }
    }
    report("changes of what was taken up", tried);
}

#[test]
fn a_changed_record_of_the_commands_says_the_same_or_nothing() {
    let sandbox = killed();
    let written = Written::of(&sandbox);
    let state =
        Journal::open_to_read(&sandbox.path("journal")).unwrap().load(&written.run).unwrap().state;
    let name = written.name("commands-1");
    let length = written.files[&name].len();
    let flips = [0x01, 0x80, 0xff]
        .into_iter()
        .flat_map(|mask| (0..length).map(move |at| Change::Flip(at, mask)));
    let changes: Vec<Change> = (0..length).map(Change::Cut).chain(flips).collect();
    let attempt = |step: &str| {
        let ix =
            StepIx(state.runbook.steps.iter().position(|one| one.name() == step).unwrap() as u32);
        Attempt { key: state.idempotency_key(ix, Direction::Forward), number: 1 }
    };
    on_all_cores(&changes, |folder, change| {
        written.lay_out(folder, &name, *change);
        let known = Known::of(&[folder.join(&name)]).unwrap();
        for step in ["a", "b"] {
            let end = known.end(&attempt(step));
            assert!(
                end.is_none_or(|end| end.exit == switchover::effect::Exit::Code(0)),
                "{change:?}: {step} ended with {end:?}"
            );
            for since in 0..8 {
                assert!(
                    !known.never_began(&attempt(step), since),
                    "{change:?}: {step} is to be begun again"
                );
            }
        }
    });
    report("changes of the record of the commands", changes.len());
}

#[test]
fn with_a_changed_record_of_the_commands_a_run_goes_on_or_asks() {
    let sandbox = killed();
    let written = Written::of(&sandbox);
    let name = written.name("commands-1");
    let length = written.files[&name].len();
    let (mut ended, mut asked) = (0, 0);
    for at in (0..length).step_by(11) {
        for change in [Change::Flip(at, 0xff), Change::Cut(at)] {
            written.lay_out(&sandbox.path("journal"), &name, change);
            // As on a machine that has not seen how the run went on.
            let _ = std::fs::remove_dir_all(sandbox.path("locks"));
            sandbox.write("witness", "a\nbegin-b\nend-b\n");
            match sandbox.code("resume") {
                0 => ended += 1,
                3 => asked += 1,
                code => panic!("{change:?}: exit {code}"),
            }
            let is_over = sandbox.witness().len() == 4;
            assert_eq!(
                sandbox.witness(),
                ["a", "begin-b", "end-b", "c"][..if is_over { 4 } else { 3 }],
                "{change:?}"
            );
        }
    }
    assert!(ended > 0 && asked > 0, "{ended} went on, {asked} asked");
}

#[test]
fn a_changed_fallback_record_gives_the_same_results_or_none() {
    let sandbox = killed();
    let journal = Journal::open(&sandbox.path("journal")).unwrap();
    let run = journal.find(None).unwrap();
    let (head, loaded) = journal.take(&run, &holder(&run)).unwrap();
    let step = Arc::clone(&loaded.state.runbook.steps[1].id);
    let kept = StepSucceeded {
        step,
        direction: Direction::Forward,
        attempt: 1,
        outputs: Default::default(),
        result: "exit 0".into(),
        secrets: Default::default(),
        logs: vec![],
    };
    let kept = Fact::StepSucceeded(kept);
    assert!(
        journal
            .keep(&head, &[Event { number: head.number + 1, at: Moment(0), fact: kept.clone() }])
    );
    drop((head, journal));
    let written = Written::of(&sandbox);
    let name = written.name("fallback");
    let line = written.files[&name].iter().position(|byte| *byte == 0).unwrap();
    let length = written.files[&name].len();
    let flips = [0x01, 0x80].into_iter().flat_map(|mask| {
        (0..line + 9).chain((line + 9..length).step_by(4099)).map(move |at| Change::Flip(at, mask))
    });
    let changes: Vec<Change> =
        (0..line + 9).chain([length - 1]).map(Change::Cut).chain(flips).collect();
    on_all_cores(&changes, |folder, change| {
        written.lay_out(folder, &name, *change);
        let (_, loaded) = Journal::open(folder).unwrap().take(&run, &holder(&run)).unwrap();
        assert!(
            loaded.kept.is_empty() || loaded.kept == [kept.clone()],
            "{change:?}: {:?}",
            loaded.kept
        );
    });
    report("changes of the fallback record", changes.len());
}

#[test]
fn a_wal_that_was_cut_off_or_lost_is_refused() {
    let sandbox = killed();
    let written = Written::of(&sandbox);
    let wal = written.files["switchover.db-wal"].len();
    // A header of 32 bytes, then frames of 24 bytes and a page.
    for length in std::iter::once(0).chain((32..wal).step_by(24 + 4096)) {
        written.lay_out(&sandbox.path("journal"), "switchover.db-wal", Change::Cut(length));
        refused(&sandbox, "");
    }
    written.lay_out(&sandbox.path("journal"), "", Change::Cut(0));
    std::fs::remove_file(sandbox.path("journal/switchover.db-wal")).unwrap();
    refused(&sandbox, "");
}

#[test]
fn an_older_copy_of_the_database_is_refused() {
    let sandbox = Sandbox::with(BOOK);
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    let older = std::fs::read(sandbox.path("journal/switchover.db")).unwrap();
    assert_eq!(sandbox.code("resume --until b"), 0);
    sandbox.write("journal/switchover.db", older);
    refused(&sandbox, "commits were lost, or an older copy was restored");
}

#[test]
fn a_journal_without_its_guards_or_its_anchor_is_refused() {
    let sandbox = stopped();
    let written = Written::of(&sandbox);
    let guard = "events_are_never_updated";
    rusqlite::Connection::open(sandbox.path("journal/switchover.db"))
        .unwrap()
        .execute_batch(&format!("DROP TRIGGER {guard}"))
        .unwrap();
    refused(&sandbox, guard);
    written.lay_out(&sandbox.path("journal"), "", Change::Cut(0));
    assert_eq!(sandbox.code("status"), 0);
    std::fs::remove_file(sandbox.path("journal").join(written.name("anchor"))).unwrap();
    refused(&sandbox, "its anchor is missing");
}

#[test]
fn a_record_of_two_keepers_with_a_change_has_no_command_begun_again() {
    let sandbox = Sandbox::with(
        r#"runbook: two
phases:
  p:
    steps:
      x: { needs: [], run: 'echo begin-x >> "$W"; while [ -e hold ]; do sleep 0.02; done; echo end-x >> "$W"', undo: none }
      y: { needs: [], wait: 1s }
      z: { needs: [y], run: 'echo begin-z >> "$W"; while [ -e hold ]; do sleep 0.02; done', undo: none }
"#,
    );
    sandbox.write("hold", "");
    let child = sandbox.start("run book.yaml --parallel 2");
    sandbox.wait_for("begin-x");
    for keeper in children(child.id()) {
        signal("KILL", keeper);
    }
    sandbox.wait_for("begin-z");
    let second = children(child.id());
    kill(child);
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    sandbox.wait_for("end-x");
    wait_for_end(&second);
    let written = Written::of(&sandbox);
    let name = written.name("commands-1");
    let attempt = Attempt { key: format!("{}:p/x:forward", written.run), number: 1 };
    let changes: Vec<Change> =
        (0..written.files[&name].len()).map(|at| Change::Flip(at, 0xff)).collect();
    on_all_cores(&changes, |folder, change| {
        written.lay_out(folder, &name, *change);
        let known = Known::of(&[folder.join(&name)]).unwrap();
        assert!(!known.never_began(&attempt, 1), "{change:?}: x is to be begun again");
    });
    // The line break behind the first line.
    let first = written.files[&name].iter().position(|byte| *byte == b'\n').unwrap();
    written.lay_out(&sandbox.path("journal"), &name, Change::Flip(first, 0xff));
    assert_eq!(sandbox.code("resume"), 3, "{}", sandbox.run("status"));
    assert_eq!(sandbox.witness().iter().filter(|line| *line == "begin-x").count(), 1);
}

#[test]
fn a_refusal_leaves_the_files_as_they_are() {
    let sandbox = killed();
    let written = Written::of(&sandbox);
    // In the middle of the WAL: what stands behind it could still be saved by somebody who knows
    // how.
    let wal = written.files["switchover.db-wal"].len();
    let last = wal - 24 - 4096 - 100;
    for verb in [
        "status",
        "audit --verify",
        "resume",
        "rollback",
        "cancel --reason no",
        "skip c --reason no",
    ] {
        written.lay_out(&sandbox.path("journal"), "switchover.db-wal", Change::Flip(last, 0x01));
        let before = Written::read(&sandbox, &written.run);
        let shown = sandbox.run(verb);
        assert!(
            shown.contains("nothing was changed") && shown.ends_with("exit 6"),
            "{verb}: {shown}"
        );
        let after = Written::read(&sandbox, &written.run);
        let changed: Vec<&String> =
            before.keys().filter(|name| after.get(*name) != before.get(*name)).collect();
        assert!(changed.is_empty(), "{verb} says that nothing was changed, but {changed:?} was");
    }
}

#[test]
fn another_journals_wal_is_refused_and_can_be_taken_away_again() {
    let (sandbox, other) = (stopped(), killed());
    let whole = sandbox.json("status --format json");
    std::fs::copy(
        other.path("journal/switchover.db-wal"),
        sandbox.path("journal/switchover.db-wal"),
    )
    .unwrap();
    for verb in ["status", "resume", "rollback"] {
        assert!([6, 7].contains(&sandbox.code(verb)), "{verb}");
    }
    for name in ["switchover.db-wal", "switchover.db-shm"] {
        let _ = std::fs::remove_file(sandbox.path("journal").join(name));
    }
    assert_eq!(sandbox.json("status --format json"), whole);
}

#[test]
fn another_journals_database_is_refused_with_its_name() {
    let (sandbox, other) = (stopped(), killed());
    let run = Written::of(&sandbox).run;
    for name in ["switchover.db", "switchover.db-wal"] {
        std::fs::copy(other.path("journal").join(name), sandbox.path("journal").join(name))
            .unwrap();
    }
    refused(&sandbox, "not as it was written");
    for verb in ["status", "resume"] {
        let shown = sandbox.run(&format!("{verb} {run}"));
        assert!(shown.contains("its anchor knows") && shown.ends_with("exit 6"), "{shown}");
    }
}

#[test]
fn an_older_copy_without_the_latest_run_does_not_make_an_earlier_one_the_latest() {
    let sandbox = Sandbox::with(BOOK);
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    let older = std::fs::read(sandbox.path("journal/switchover.db")).unwrap();
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    sandbox.write("journal/switchover.db", older);
    refused(&sandbox, "its anchor knows");
}

#[test]
fn a_journal_whose_first_commits_are_lost_is_not_taken_for_an_empty_one() {
    let sandbox = killed();
    std::fs::remove_file(sandbox.path("journal/switchover.db-wal")).unwrap();
    let shown = sandbox.run("resume");
    assert!(shown.contains("its anchor knows") && shown.ends_with("exit 6"), "{shown}");
}

#[test]
fn what_is_broken_is_not_taken_for_a_full_disk() {
    let written = Written::of(&stopped());
    let length = written.files["switchover.db"].len();
    let flips = (0..length)
        .step_by(3)
        .map(|at| Change::Flip(at, if at.is_multiple_of(2) { 0x01 } else { 0x80 }));
    let changes: Vec<Change> = (0..length).step_by(61).map(Change::Cut).chain(flips).collect();
    on_all_cores(&changes, |folder, change| {
        written.lay_out(folder, "switchover.db", *change);
        if let Err(error) = read(folder, &written.run) {
            assert!(error.is_refusal(), "{change:?}: {error}");
        }
    });
}

/// A run that stopped as it was asked to.
fn stopped() -> Sandbox {
    let sandbox = Sandbox::with(BOOK);
    assert_eq!(sandbox.code("run book.yaml --until b"), 0);
    sandbox
}

/// A run whose executor was killed while a command ran, which has ended since.
fn killed() -> Sandbox {
    let sandbox = Sandbox::with(BOOK);
    sandbox.write("hold", "");
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    let keepers = children(child.id());
    kill(child);
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    wait_for_end(&keepers);
    sandbox
}

fn wait_for_end(processes: &[u32]) {
    let runs = |process: &u32| {
        std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
    };
    wait_until("these processes end", || !processes.iter().any(runs));
}

/// Every verb says no, and why, and nothing of the world changes.
fn refused(sandbox: &Sandbox, why: &str) {
    let seen = sandbox.witness();
    for verb in [
        "status",
        "audit --verify",
        "resume",
        "rollback",
        "cancel --reason no",
        "skip c --reason no",
    ] {
        let shown = sandbox.run(verb);
        assert!(shown.contains(why) && shown.ends_with("exit 6"), "{verb}: {shown}");
    }
    assert_eq!(sandbox.witness(), seen);
}

impl Written {
    fn of(sandbox: &Sandbox) -> Written {
        let runs = std::fs::read_dir(sandbox.path("journal/runs")).unwrap();
        let run = runs.map(|run| run.unwrap().file_name().into_string().unwrap()).next().unwrap();
        Written { files: Written::read(sandbox, &run), run }
    }

    fn read(sandbox: &Sandbox, run: &str) -> BTreeMap<String, Vec<u8>> {
        let names = ["switchover.db", "switchover.db-wal"].map(str::to_owned).into_iter();
        let names = names
            .chain(["anchor", "commands-1", "fallback"].map(|name| format!("runs/{run}/{name}")));
        names
            .filter_map(|name| {
                Some((name.clone(), std::fs::read(sandbox.path("journal").join(name)).ok()?))
            })
            .collect()
    }

    fn name(&self, file: &str) -> String {
        format!("runs/{}/{file}", self.run)
    }

    /// Writes all of it into a folder, with one file changed.
    fn lay_out(&self, folder: &Path, name: &str, change: Change) {
        for old in ["switchover.db-shm", "switchover.db-wal"] {
            let _ = std::fs::remove_file(folder.join(old));
        }
        let runs = folder.join("runs").join(&self.run);
        std::fs::create_dir_all(&runs).unwrap();
        for entry in std::fs::read_dir(&runs).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("commands-")
                && !self.files.contains_key(&format!("runs/{}/{name}", self.run))
            {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        for (file, bytes) in &self.files {
            let mut bytes = bytes.clone();
            match change {
                Change::Cut(length) if file == name => bytes.truncate(length),
                Change::Flip(at, mask) if file == name => bytes[at] ^= mask,
                _ if file.ends_with("fallback") && !name.ends_with("fallback") => continue,
                _ => {}
            }
            std::fs::write(folder.join(file), bytes).unwrap();
        }
    }

    /// What is read when nothing was changed.
    fn state(&self) -> String {
        let folder = memory();
        self.lay_out(folder.path(), "", Change::Cut(0));
        read(folder.path(), &self.run).unwrap()
    }
}

/// Reads the journal as `status` does, the latest run and then all of it; everything that is known
/// of it.
fn read(folder: &Path, run: &str) -> Result<String, JournalError> {
    let journal = Journal::open_to_read(folder)?;
    Ok(in_words(journal.load(&journal.find(None)?)?, run))
}

/// The same as `resume` does.
fn take(folder: &Path, run: &str) -> Result<String, JournalError> {
    drop(Journal::open_to_read(folder)?);
    let journal = Journal::open(folder)?;
    let (_, loaded) = journal.take(&journal.find(None)?, &holder(run))?;
    Ok(in_words(loaded, run))
}

fn holder(run: &str) -> Holder {
    Holder {
        operator: Person("oncall@test".into()),
        run: run.to_owned(),
        process: 1,
        host: String::new(),
        since: Moment(0),
        folder: None,
    }
}

fn in_words(mut loaded: Loaded, run: &str) -> String {
    assert_eq!(loaded.state.started.run, run);
    // A map, in no order, made from the rest.
    Arc::make_mut(&mut loaded.state.runbook).index = Default::default();
    format!("{:?} {:?}", loaded.hashes, loaded.state)
}

/// Tries each instance, on each core in a folder of its own; tells of the first that panicked.
fn on_all_cores<T: Sync + std::fmt::Debug>(instances: &[T], attempt: impl Fn(&Path, &T) + Sync) {
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let folder = memory();
                while let Some(instance) = instances.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| attempt(folder.path(), instance))).is_err()
                    {
                        let mut broken = broken.lock().unwrap();
                        broken.push(format!("{instance:?}"));
                        if broken.len() >= 20 {
                            next.store(instances.len(), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "of {} instances, {broken:?}", instances.len());
}

/// A folder in memory, if the machine has one.
fn memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

fn report(what: &str, tried: usize) {
    #[expect(clippy::print_stdout, reason = "with --show-output, it says what was tried")]
    {
        println!("corruption: {tried} {what} tried");
    }
}
