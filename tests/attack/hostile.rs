//! Commands that leave hostile things where the program looks: every verb still works, in bounded
//! time and memory, and nothing of it reaches the terminal as it is.

use super::chance::Chance;
use super::world::{World, is_root};

/// What a command does before it ends, and whether only root can.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    script: &'static str,
}

/// `$O` is a path that the program reads afterwards, `$L` its log.
pub const CASES: &[Case] = &[
    Case {
        name: "deep JSON",
        script: r#"python3 -c 'n=126;print("{\"x\":"+"["*n+"]"*n+"}")' > "$O""#,
    },
    Case {
        name: "very deep JSON",
        script: r#"python3 -c 'n=300000;print("{\"x\":"+"["*n+"]"*n+"}")' > "$O""#,
    },
    Case {
        name: "JSON that has no end",
        script: r#"python3 -c 'print("{\"x\":"+"["*200000)' > "$O""#,
    },
    Case {
        name: "many names",
        script: r#"python3 -c 'print("\n".join(f"k{i}=v" for i in range(60000)))' > "$O""#,
    },
    Case { name: "3 MiB", script: r#"head -c 3000000 /dev/zero | tr '\0' a > "$O""# },
    Case { name: "sparse", script: r#"truncate -s 3G "$O""# },
    Case {
        name: "binary",
        script: r#"head -c 20000 /dev/urandom > "$O"; head -c 200000 /dev/urandom"#,
    },
    Case { name: "a FIFO", script: r#"rm -f "$O"; mkfifo "$O""# },
    Case { name: "a folder", script: r#"rm -f "$O"; mkdir "$O""# },
    Case { name: "a link to a file", script: r#"ln -sf /etc/passwd "$O""# },
    Case { name: "a link to the journal", script: r#"ln -sf "$PWD/journal/switchover.db" "$O""# },
    Case { name: "a link to nothing that ends", script: r#"ln -sf /dev/zero "$O""# },
    Case { name: "a link to itself", script: r#"ln -sf "$O" "$O""# },
    Case {
        name: "a socket",
        script: r#"python3 -c 'import socket,sys,os;os.chdir(os.path.dirname(sys.argv[1]));s=socket.socket(socket.AF_UNIX);s.bind(os.path.basename(sys.argv[1]))' "$O""#,
    },
    Case { name: "a device", script: r#"rm -f "$O"; mknod "$O" c 1 5 2>/dev/null || true"# },
    Case { name: "unreadable", script: r#"echo a=1 > "$O"; chmod 000 "$O""# },
    Case {
        name: "terminal sequences",
        script: r#"printf 'x=\033]52;c;aGk=\007\033[2J\r\302\233 31m\342\200\256\n' | tee "$O"; printf '\033[2J\033]0;x\007\rdone: forged\n' >&2; false"#,
    },
    Case { name: "no log", script: r#"rm -f "$L"; echo lost"# },
    Case { name: "a log that is a FIFO", script: r#"rm -f "$L"; mkfifo "$L""# },
    Case { name: "a log that is a link", script: r#"ln -sf /etc/passwd "$L""# },
    Case { name: "a flood", script: r#"head -c 30000000 /dev/zero | tr '\0' 'a'"# },
    Case {
        name: "one long line of progress",
        script: r#"head -c 30000000 /dev/zero | tr '\0' 'a' > "$SWITCHOVER_PROGRESS"; sleep 1.2"#,
    },
];

/// Paths that the program reads when a command is over.
const PLACES: &[&str] = &["$SWITCHOVER_OUTPUT", "$SWITCHOVER_CHECKPOINT", "$SWITCHOVER_PROGRESS"];

pub fn case(seed: u64) -> Case {
    Chance::new(seed).of(CASES)
}

/// A run before it, the run with it, and everything that people do afterwards.
pub fn attack(seed: u64, case: Case) {
    let mut chance = Chance::new(seed);
    // The same first number chose the case.
    chance.below(CASES.len());
    let world = World::by_chance(&mut chance);
    let place = chance.of(PLACES);
    let secret = if chance.percent(50) { ", env: { SECRET: { secret: token } }" } else { "" };
    let about = format!(
        "{} at {place} SWITCHOVER_ATTACK_SEED={seed} secret {}",
        case.name,
        !secret.is_empty()
    );
    world.write(
        "good.yaml",
        "runbook: good\nphases: { p: { steps: { a: { run: 'true', undo: { run: 'true' } } } } }\n",
    );
    let script =
        format!("O=\"{place}\"; L=\"${{SWITCHOVER_OUTPUT%.output}}.out\"; {}", case.script)
            .replace('\'', "''");
    world.write(
        "bad.yaml",
        &format!(
            "runbook: bad
secrets: {{ token: {{ env: TOKEN }} }}
phases:
  p:
    steps:
      a: {{ run: '{script}', timeout: 30s, undo: {{ run: 'true' }}{secret} }}
      b: {{ run: 'true', undo: {{ run: 'true' }} }}
"
        ),
    );
    assert_eq!(world.code("run good.yaml --name good"), 0, "{about}");
    let told = |line: &str, allowed: &[i32]| {
        let output = world.run(line);
        let code = output.status.code().unwrap_or(-1);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(allowed.contains(&code), "{about}: `{line}` ended with {code}:\n{text}");
        let is_meant = |c: char| {
            c == '\n' || c == '\t' || !(c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
        };
        let stray: Vec<char> = text.chars().filter(|c| !is_meant(*c)).collect();
        assert!(
            stray.is_empty() || line.starts_with("logs --raw"),
            "{about}: `{line}` shows {stray:?}:\n{text}"
        );
        assert!(!text.contains("correct-horse-battery"), "{about}: `{line}` shows the secret");
    };
    told("run bad.yaml --name bad", &[0, 1, 3]);
    for line in ["list", "status bad", "audit bad", "logs a --run bad", "status good", "audit good"]
    {
        told(line, &[0, 1, 6]);
    }
    told("audit --verify good", &[0]);
    told("resume bad", &[0, 1, 3]);
    told("resolve --run bad a --as done --reason looked", &[0, 2, 3, 6]);
    told("resume bad", &[0, 1, 3]);
    told("rollback bad", &[4]);
    told("rollback good", &[4]);
    told("list", &[0]);
    world.settle();
    if !is_root() {
        return;
    }
    // What links point to is as it was.
    let passwd = std::fs::metadata("/etc/passwd").expect("its length").len();
    assert!(passwd > 0 && passwd < 1 << 20, "{about}");
}
