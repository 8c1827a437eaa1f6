//! What other users of the machine can do about a run, and what their texts can do to messages.
//! Needs root, to be other users; where it is not, that is said.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};

use super::sandbox::{Sandbox, repository};

const NOBODY: u32 = 65_534;
const STRANGER: u32 = 54_321;

/// Whether tests run as root.
fn is_root(about: &str) -> bool {
    let is = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
    if !is {
        #[expect(clippy::print_stdout, reason = "it says what was not tried")]
        {
            println!("others: NOT ROOT, so this was not tried: {about}");
        }
    }
    is
}

/// The program, run by a user, in a folder of a sandbox.
fn as_user(sandbox: &Sandbox, user: u32, line: &str, env: &[(&str, String)]) -> Output {
    // Where everybody may execute it.
    let program = sandbox.path("switchover");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_switchover"), &program).expect("the program");
    }
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"])
        .arg(program);
    command.args(line.split_whitespace()).current_dir(sandbox.path("home"));
    command.env_remove("SWITCHOVER_JOURNAL").env("HOME", sandbox.path("home")).env("NO_COLOR", "1");
    command
        .env("W", sandbox.path("home/witness"))
        .envs(env.iter().map(|(name, value)| (name, value)));
    command.output().expect("setpriv, of util-linux")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A sandbox with a folder `home` of a user, and a runbook in it.
fn home(user: u32, book: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::set_permissions(sandbox.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.write("home/book.yaml", book);
    chown(sandbox.path("home"), Some(user), Some(user)).unwrap();
    sandbox
}

fn locks(sandbox: &Sandbox) -> [(&'static str, String); 1] {
    [("SWITCHOVER_LOCKS", sandbox.path("locks").display().to_string())]
}

const LOCKED: &str = "runbook: locked
locks: [shop]
phases: { p: { steps: { a: { run: 'echo a >> \"$W\"', undo: { run: 'echo undo >> \"$W\"' } } } } }
";

#[test]
fn root_does_not_go_on_with_the_journal_of_somebody_else() {
    if !is_root("a journal of another user") {
        return;
    }
    let sandbox = home(NOBODY, LOCKED);
    sandbox.write("locks/.here", "");
    std::fs::set_permissions(sandbox.path("locks"), PermissionsExt::from_mode(0o1777)).unwrap();
    let env = locks(&sandbox);
    let run = as_user(&sandbox, NOBODY, "run book.yaml", &env);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    for line in ["rollback", "resume", "skip a --reason x", "run book.yaml"] {
        let shown = as_user(&sandbox, 0, line, &env);
        assert_eq!(shown.status.code(), Some(6), "{line}: {}", text(&shown));
        assert!(
            text(&shown).contains("belongs to the user 65534, and this is the user 0"),
            "{line}: {}",
            text(&shown)
        );
    }
    for line in ["status", "list", "audit --verify"] {
        assert_eq!(as_user(&sandbox, 0, line, &env).status.code(), Some(0), "{line}");
    }
    let back = as_user(&sandbox, NOBODY, "rollback", &env);
    assert_eq!(back.status.code(), Some(4), "{}", text(&back));
    let witness = std::fs::read_to_string(sandbox.path("home/witness")).unwrap();
    assert_eq!(witness, "a\nundo\n");
}

#[test]
fn what_a_stranger_puts_among_the_locks_is_neither_waited_for_nor_read_whole() {
    if !is_root("locks of another user") {
        return;
    }
    let sandbox = home(NOBODY, LOCKED);
    std::fs::create_dir(sandbox.path("locks")).unwrap();
    std::fs::set_permissions(sandbox.path("locks"), PermissionsExt::from_mode(0o1777)).unwrap();
    let env = locks(&sandbox);
    let name = {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(b"shop");
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let path = sandbox.path("locks").join(name);
    let stranger = |script: &str| {
        let mut command = Command::new("setpriv");
        command
            .args([&format!("--reuid={STRANGER}"), "--clear-groups", "sh", "-c", script])
            .env("F", &path);
        assert!(command.status().expect("setpriv").success(), "{script}");
    };
    for script in ["mkfifo \"$F\"", "ln -s /etc/passwd \"$F\"", "mkdir \"$F\""] {
        stranger(script);
        let shown = as_user(&sandbox, NOBODY, "run book.yaml", &env);
        assert_eq!(shown.status.code(), Some(6), "{script}: {}", text(&shown));
        stranger("rm -rf \"$F\"");
    }
    // A sparse one of 3 GiB takes no memory; the limit is on addresses.
    stranger("truncate -s 3G \"$F\"; chmod 666 \"$F\"");
    let line =
        format!("prlimit --as=1500000000 {} run book.yaml", sandbox.path("switchover").display());
    let shown = Command::new("setpriv")
        .args([&format!("--reuid={NOBODY}"), "--regid=65534", "--clear-groups", "sh", "-c", &line])
        .current_dir(sandbox.path("home"))
        .envs(env)
        .env("W", sandbox.path("home/witness"))
        .output()
        .unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    // Nor does a folder for what was seen of runs that somebody else made.
    stranger("mkdir \"$(dirname \"$F\")/heads-54322\"");
    let other = home(54_322, LOCKED);
    let shown = as_user(&other, 54_322, "run book.yaml", &locks(&sandbox));
    assert!(text(&shown).contains("it is not this user's own folder"), "{}", text(&shown));
    assert_eq!(shown.status.code(), Some(6));
}

/// What of a journal's folder others may use, folders and files.
fn not_private(sandbox: &Sandbox) -> Vec<String> {
    let find = Command::new("find")
        .args(["journal", "-perm", "/077"])
        .current_dir(sandbox.path(""))
        .output()
        .unwrap();
    String::from_utf8(find.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_journal_that_others_may_use_becomes_private() {
    let sandbox = Sandbox::with(LOCKED);
    for folder in ["journal", "journal/runs", "journal/outbox"] {
        std::fs::create_dir(sandbox.path(folder)).unwrap();
        std::fs::set_permissions(sandbox.path(folder), PermissionsExt::from_mode(0o777)).unwrap();
    }
    for file in ["switchover.db", "mac.key", "uuid"] {
        let bytes: &[u8] = if file == "switchover.db" { &[] } else { &[7; 32] };
        sandbox.write(&format!("journal/{file}"), bytes);
        std::fs::set_permissions(
            sandbox.path(&format!("journal/{file}")),
            PermissionsExt::from_mode(0o666),
        )
        .unwrap();
    }
    sandbox.write("s", "of-old-and-secret");
    sandbox.write(
        "book.yaml",
        format!("{LOCKED}secrets: {{ t: {{ file: s }} }}\nenv: {{ T: {{ secret: t }} }}\n"),
    );
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert_eq!(not_private(&sandbox), [""; 0]);
    let loosened = Command::new("chmod")
        .args(["-R", "a+rwX", "journal"])
        .current_dir(sandbox.path(""))
        .status()
        .unwrap();
    assert!(loosened.success() && !not_private(&sandbox).is_empty());
    assert_eq!(sandbox.code("rollback"), 4);
    // What earlier sessions are over with is not touched again; nobody comes to it.
    let is_over = |path: &String| path.contains("/logs/") || path.contains("/commands-");
    let left: Vec<String> =
        not_private(&sandbox).into_iter().filter(|path| !is_over(path)).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn what_somebody_else_has_put_into_a_journal_is_not_used() {
    if !is_root("files of another user in a journal") {
        return;
    }
    let beside = ["runs/abcd/secrets", "runs/abcd/logs/a.f1.out"];
    for part in ["runs", "outbox", "switchover.db", "switchover.db-wal", "mac.key", "uuid"]
        .into_iter()
        .chain(beside)
    {
        let sandbox = home(
            NOBODY,
            &format!("{LOCKED}secrets: {{ t: {{ file: s }} }}\nenv: {{ T: {{ secret: t }} }}\n"),
        );
        sandbox.write("home/s", "of-old-and-secret");
        chown(sandbox.path("home/s"), Some(NOBODY), None).unwrap();
        sandbox.write("locks/.here", "");
        std::fs::set_permissions(sandbox.path("locks"), PermissionsExt::from_mode(0o1777)).unwrap();
        match part {
            "runs" | "outbox" | "runs/abcd/secrets" => {
                std::fs::create_dir_all(sandbox.path(&format!("home/journal/{part}"))).unwrap()
            }
            "switchover.db" | "switchover.db-wal" => {
                sandbox.write(&format!("home/journal/{part}"), "")
            }
            _ => sandbox.write(&format!("home/journal/{part}"), [7; 32]),
        }
        let path = sandbox.path(&format!("home/journal/{part}"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        let all = [
            "home/journal",
            "home/journal/runs",
            "home/journal/runs/abcd",
            "home/journal/runs/abcd/logs",
        ];
        all.iter()
            .filter(|path| sandbox.path(path).exists())
            .for_each(|path| chown(sandbox.path(path), Some(NOBODY), None).unwrap());
        chown(&path, Some(STRANGER), None).unwrap();
        let shown = as_user(&sandbox, NOBODY, "run book.yaml", &locks(&sandbox));
        assert_eq!(shown.status.code(), Some(6), "{part}: {}", text(&shown));
        let words = format!("{part} belongs to the user {STRANGER}");
        assert!(text(&shown).contains(&words), "{part}: {}", text(&shown));
        assert!(!sandbox.path("home/witness").exists(), "{part}");
    }
}

#[test]
fn a_folder_that_could_not_be_found_again_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::with(LOCKED);
    let folder = sandbox.path("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(sandbox.path("book.yaml"), folder.join("book.yaml")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchover"));
    command
        .args(["run", "book.yaml"])
        .current_dir(&folder)
        .env("SWITCHOVER_LOCKS", sandbox.path("locks"));
    let shown = command.env("W", sandbox.path("witness")).output().unwrap();
    assert!(
        text(&shown).contains("is no UTF-8") && shown.status.code() == Some(6),
        "{}",
        text(&shown)
    );
    assert!(sandbox.witness().is_empty());
}

#[test]
fn no_value_adds_a_header_to_a_message_or_makes_its_name_too_long() {
    let sandbox = Sandbox::with(&format!(
        "runbook: mail
phases:
  p:
    steps:
      say: {{ run: [printf, \"x=hello\\r\\nBcc: all@example.test\"], capture: {{ x: stdout }}, undo: none }}
      tell:
        for_each: {{ in: ['{}'] }}
        notify: {{ subject: 'About {{{{steps.say.x}}}}', body: Text, to: ['one@example.test{{{{steps.say.x}}}}'] }}
",
        "k".repeat(240)
    ));
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let outbox: Vec<_> = std::fs::read_dir(sandbox.path("journal/outbox"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let mails: Vec<String> =
        outbox.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mail =
        mails.iter().find(|mail| mail.contains("About")).unwrap_or_else(|| panic!("{mails:?}"));
    let (head, _) = mail.split_once("\n\n").unwrap();
    assert_eq!(head.lines().count(), 2, "{mail}");
    assert!(!mail.lines().any(|line| line.starts_with("Bcc:")), "{mail}");
    assert!(
        repository().is_dir() && outbox.iter().all(|path| path.file_name().unwrap().len() < 200)
    );
}
