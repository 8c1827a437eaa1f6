//! Traffic through a real HAProxy and nginx, watched by a real Prometheus: it is moved in steps,
//! comes back as soon as a reading says so, and every way back restores what was found.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, kill_all, wait_until};
use super::servers::{lab, web};

const TRAFFIC: &str = r#"
traffic:
  web: { haproxy: { socket: LAB/haproxy/socket, backend: web, from: old, to: new } }
  pages:
    nginx:
      file: LAB/nginx/upstream.conf
      from: 127.0.0.1:PORT(nginx-old)
      to: 127.0.0.1:PORT(nginx-new)
      test: [/usr/sbin/nginx, -t, -q, -c, LAB/nginx/nginx.conf, -e, stderr]
      reload: [/usr/sbin/nginx, -s, reload, -c, LAB/nginx/nginx.conf, -e, stderr]
"#;

fn steps(steps: &str) -> Sandbox {
    lab().sandbox(&format!("runbook: shift{TRAFFIC}phases:\n  p:\n    steps:\n{steps}"))
}

fn haproxy(command: &str) -> String {
    let mut socket = UnixStream::connect(lab().path("haproxy/socket")).unwrap();
    socket.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// The weights of the old and the new server.
fn weights() -> (u32, u32) {
    let weight = |server: &str| {
        haproxy(&format!("get weight web/{server}"))
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    (weight("old"), weight("new"))
}

fn set_weights(old: u32, new: u32) {
    assert_eq!(haproxy(&format!("set weight web/old {old}; set weight web/new {new}")).trim(), "");
}

/// The web servers for this test alone, with all traffic on the old side.
fn fresh() -> MutexGuard<'static, ()> {
    let web = web();
    set_weights(100, 0);
    web
}

/// The status and body that a server answers.
fn get(port: u16) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.trim().to_owned()))
}

/// Requests through HAProxy, each with when it was answered and how.
struct Load {
    answers: Arc<Mutex<Vec<(Instant, u16)>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    fn begin() -> Load {
        let (answers, is_over) =
            (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (to, until, port) = (Arc::clone(&answers), Arc::clone(&is_over), lab().port("web"));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                if let Some((status, _)) = get(port) {
                    to.lock().unwrap().push((Instant::now(), status));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Load { answers, is_over, thread: Some(thread) }
    }

    fn end(&mut self) -> Vec<(Instant, u16)> {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// A new side that answers 500, until this is dropped.
struct Broken;

impl Broken {
    fn begin() -> Broken {
        std::fs::write(lab().path("nginx/new.conf"), "return 500;\n").unwrap();
        reload_nginx();
        wait_until("the new side fails", || {
            get(lab().port("nginx-new")).is_some_and(|(status, _)| status == 500)
        });
        Broken
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(lab().path("nginx/new.conf"));
        reload_nginx();
    }
}

fn reload_nginx() {
    let pid = std::fs::read_to_string(lab().path("nginx/pid")).unwrap();
    assert!(
        std::process::Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap().success()
    );
}

#[test]
fn traffic_is_moved_in_steps_and_comes_back_exactly() {
    let _web = fresh();
    set_weights(87, 5);
    let sandbox = steps(
        r#"
      go:
        shift:
          traffic: web
          steps: [10, 50, 100]
          bake: 1500ms
          analysis: [{ name: sessions, prometheus: { url: "http://127.0.0.1:PORT(prometheus)", headers: { Authorization: { secret: token, prefix: "Bearer " } } }, query: 'sum(haproxy_server_current_sessions{proxy="web"})', success: value < 1000, every: 300ms }]
        capture: { percent: percent }
"#,
    );
    sandbox.write(
        "book.yaml",
        sandbox
            .read("book.yaml")
            .replace("phases:", "secrets: { token: { env: DEPLOY_TOKEN } }\nphases:"),
    );
    let plan = sandbox.run("plan book.yaml");
    assert!(
        plan.contains(
            "shift 10, 50, 100 % of web from old to new of web in HAProxy, 1.5s \
        each, watching sessions"
        ),
        "{plan}"
    );
    assert!(plan.contains("give web back the weights that were found"), "{plan}");
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(weights(), (0, 100));
    assert_eq!(get(lab().port("web")), Some((200, "new".to_owned())));
    let events = sandbox.run("audit --format json");
    assert!(
        events.contains(r#""seen":{"new":"5","old":"87"}"#) || events.contains(r#""new": "5""#),
        "{events}"
    );
    assert!(events.contains("token") && !events.contains("correct-horse"), "{events}");
    let shown = sandbox.run("rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(weights(), (87, 5));
}

#[test]
fn nginx_takes_the_new_file_and_gets_the_old_one_back_to_the_byte() {
    let _web = fresh();
    let file = lab().path("nginx/upstream.conf");
    let before = std::fs::read(&file).unwrap();
    let sandbox = steps("      go: { shift: { traffic: pages, steps: [50, 100], bake: 300ms } }\n");
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    wait_until("nginx asks the new side", || {
        get(lab().port("nginx")) == Some((200, "new".to_owned()))
    });
    let shown = sandbox.run("rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    wait_until("nginx asks the old side", || {
        get(lab().port("nginx")) == Some((200, "old".to_owned()))
    });

    // A configuration that does not stand its test is put back at once, and nothing is left to
    // undo.
    let sandbox = steps("      go: { shift: { traffic: pages, to: 50 } }\n");
    sandbox.write(
        "book.yaml",
        sandbox
            .read("book.yaml")
            .replace("[/usr/sbin/nginx, -t,", "[/usr/sbin/nginx, -t, -g, 'nonsense;',"),
    );
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("unknown directive \"nonsense\"")
            && shown.contains("upstream.conf is as it was"),
        "{shown}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(sandbox.code("rollback"), 4);
}

/// Against the share of errors that Prometheus sees.
const ERRORS: &str = r#"[{ name: errors, prometheus: "http://127.0.0.1:PORT(prometheus)", query: 'sum(rate(haproxy_server_http_responses_total{proxy="web",code="5xx"}[4s])) / sum(rate(haproxy_server_http_responses_total{proxy="web"}[4s]))', failure: value > 0.05, success: value <= 0.05, every: 500ms }]"#;

#[test]
fn a_release_that_fails_at_25_percent_is_back_within_ten_seconds() {
    let _web = fresh();
    let mut load = Load::begin();
    let sandbox = steps(&format!(
        "      go: {{ shift: {{ traffic: web, steps: [10, 25, 100], bake: 8s, \
         analysis: {ERRORS} }}, on_failure: rollback }}\n"
    ));
    let (shown, broken_at) = std::thread::scope(|scope| {
        let breaker = scope.spawn(|| {
            wait_until("25 % on the new side", || weights() == (75, 25));
            let broken = Broken::begin();
            (broken, Instant::now())
        });
        let shown = sandbox.run("run book.yaml");
        let (broken, at) = breaker.join().unwrap();
        drop(broken);
        (shown, at)
    });
    assert!(
        shown.contains(
            "web at 25 % on the new side: the analysis `errors` failed with a bad \
        reading: value is 0."
        ),
        "{shown}"
    );
    assert!(
        shown.contains("traffic is back at 0 % on the new side") && shown.ends_with("exit 4"),
        "{shown}"
    );
    assert_eq!(weights(), (100, 0));
    let answers = load.end();
    let bad: Vec<Instant> =
        answers.iter().filter(|(_, status)| *status == 500).map(|(at, _)| *at).collect();
    assert!(bad.len() > 3, "{} of {} answers were bad", bad.len(), answers.len());
    let last = bad.last().unwrap().saturating_duration_since(broken_at);
    println!(
        "shift: {} of {} answers were bad, the last of them {last:?} after the new side failed",
        bad.len(),
        answers.len()
    );
    assert!(last < Duration::from_secs(10), "{last:?}");
    // Out of the sight of other tests' queries.
    std::thread::sleep(Duration::from_secs(6));
}

#[test]
fn a_reading_is_held_against_its_baseline() {
    let _web = fresh();
    for (value, baseline, words) in [
        ("vector(7)", "vector(5)", "failed with a bad reading: value is 7.0, baseline is 5.0"),
        (
            "vector(5)",
            "vector(5)",
            "100 % on the new side; new good (value is 5.0, baseline is 5.0)",
        ),
        // The old side says nothing, so nothing is known of the new one.
        (
            "vector(5)",
            "no_such_metric",
            "paused: 100 % of web on the new side is neither good nor bad: the analysis `new` is \
             inconclusive: the baseline: no data",
        ),
        ("vector(5)", "haproxy_server_weight", "the baseline has several series"),
    ] {
        let sandbox = steps(&format!(
            "      go: {{ shift: {{ traffic: web, to: 100, analysis: [{{ name: new, prometheus: \
             'http://127.0.0.1:PORT(prometheus)', query: {value}, baseline: {baseline}, success: \
             value <= baseline * 1.1 }}] }} }}\n"
        ));
        let shown = sandbox.run("run book.yaml");
        assert!(shown.contains(words), "{words}: {shown}");
        assert_eq!(shown.ends_with("exit 0"), value == baseline, "{shown}");
        assert_eq!(weights(), if value == baseline { (0, 100) } else { (100, 0) });
        assert_eq!(sandbox.code("rollback"), 4);
        assert_eq!(weights(), (100, 0));
    }
}

#[test]
fn no_data_is_neither_good_nor_bad() {
    let _web = fresh();
    for (query, words) in [
        ("no_such_metric", "no data: the query has no value"),
        ("0 / (haproxy_process_nbthread * 0)", "no data: the query gives NaN"),
        ("haproxy_server_weight", "the query has several series"),
    ] {
        let sandbox = steps(&format!(
            r#"
      go:
        shift:
          traffic: web
          steps: [25, 100]
          bake: 1s
          analysis: [{{ name: nothing, prometheus: "http://127.0.0.1:PORT(prometheus)", query: "{query}", success: value < 1, every: 200ms }}]
"#
        ));
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains("paused: 25 % of web on the new side is neither good nor bad"),
            "{query}: {shown}"
        );
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{query}: {shown}");
        assert_eq!(weights(), (100, 0), "the last weight that was good is what was there");
        assert_eq!(sandbox.code("rollback"), 4);
    }
}

#[test]
fn a_killed_executor_goes_on_where_the_traffic_is() {
    let _web = fresh();
    let sandbox = steps("      go: { shift: { traffic: web, steps: [10, 50, 100], bake: 2s } }\n");
    let child = sandbox.start("run book.yaml");
    wait_until("50 % on the new side", || weights() == (50, 50));
    kill_all(child);
    let begun = Instant::now();
    let shown = sandbox.run("resume");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(weights(), (0, 100));
    assert!(
        begun.elapsed() > Duration::from_secs(4),
        "50 % are watched anew, whole: {:?}",
        begun.elapsed()
    );
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(weights(), (100, 0));

    // Killed again, and somebody else sets the weights before it goes on: neither way is gone over
    // that.
    let child = sandbox.start("run book.yaml");
    wait_until("10 % on the new side", || weights() == (90, 10));
    kill_all(child);
    set_weights(60, 40);
    let shown = sandbox.run("resume");
    assert!(
        shown.contains(
            "web has new 40, old 60, which is neither what was found first (new 0, \
        old 100) nor any step"
        ),
        "{shown}"
    );
    assert_eq!(weights(), (60, 40));
    let shown = sandbox.run("rollback");
    assert!(shown.contains("neither what was found first") && shown.ends_with("exit 5"), "{shown}");
    // As if it had died between the two servers.
    set_weights(90, 50);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(weights(), (100, 0));
}

#[test]
fn a_shift_that_is_stopped_takes_its_traffic_back() {
    let _web = fresh();
    let sandbox = steps(
        "      go: { shift: { traffic: web, to: 25, bake: 1m }, estimate: 1s, timeout: 1s }\n",
    );
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("it took longer than 1s and was stopped")
            && shown.contains("traffic is back at 0 %"),
        "{shown}"
    );
    assert_eq!(weights(), (100, 0));
    assert_eq!(sandbox.code("rollback"), 4);
}

#[test]
fn what_cannot_be_used_is_named_and_nothing_is_changed() {
    let _web = fresh();
    let analysis = |url: &str, query: &str| {
        format!(
            ", analysis: [{{ name: errors, prometheus: \"{url}\", query: \"{query}\", success: \
             value < 1, every: 200ms }}]"
        )
    };
    let prometheus = "http://127.0.0.1:PORT(prometheus)";
    for (find, replace, more, words) in [
        (
            "LAB/haproxy/socket",
            "/nowhere/socket",
            String::new(),
            "HAProxy's runtime API at /nowhere/socket cannot be asked: No such file",
        ),
        (
            "LAB/haproxy/socket",
            "127.0.0.1:1",
            String::new(),
            "needs `stats socket 127.0.0.1:1 level admin`",
        ),
        (
            "to: new }",
            "to: newer }",
            String::new(),
            "No such server.; its servers there are old, new",
        ),
        ("backend: web", "backend: wob", String::new(), "No such backend.; its backends are"),
        ("to: new }", "to: \"new; shutdown\" }", String::new(), "cannot be a name in HAProxy"),
        ("", "", analysis(prometheus, "sum(x"), "correct its query: sum(x"),
        ("", "", analysis(prometheus, "x[5m]"), "the query gives a matrix, not a value"),
        (
            "",
            "",
            analysis("http://127.0.0.1:1", "x"),
            "the analysis `errors` cannot be read at http://127.0.0.1:1: ",
        ),
    ] {
        let book = format!(
            "runbook: shift{TRAFFIC}phases: {{ p: {{ steps: {{ go: {{ shift: {{ traffic: web, to: \
             25{more} }} }} }} }} }}\n"
        );
        let book = if find.is_empty() { book } else { book.replace(find, replace) };
        let sandbox = lab().sandbox(&book);
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains(words) && shown.contains("p/go") && shown.ends_with("exit 1"),
            "{words}: {shown}"
        );
        assert_eq!(weights(), (100, 0));
        // Provably without effect, so a rollback has nothing to undo or to ask.
        assert_eq!(sandbox.run("rollback").lines().last(), Some("exit 4"), "{words}");
    }
    assert_eq!(haproxy("disable server web/new").trim(), "");
    let shown = steps("      go: { shift: { traffic: web, to: 50 } }\n").run("run book.yaml");
    assert_eq!(haproxy("enable server web/new").trim(), "");
    assert!(
        shown.contains("new of web is MAINT: it takes no traffic") && shown.ends_with("exit 1"),
        "{shown}"
    );
    assert_eq!(weights(), (100, 0));
    let sandbox = steps("      go: { shift: { traffic: pages, to: 50 } }\n");
    sandbox.write(
        "book.yaml",
        sandbox
            .read("book.yaml")
            .replace(&format!("to: 127.0.0.1:{}", lab().port("nginx-new")), "to: 192.0.2.1:80"),
    );
    let shown = sandbox.run("run book.yaml");
    assert!(shown.contains("has no server 192.0.2.1:80; its servers are 127.0.0.1:"), "{shown}");
}

/// Needs no servers: a file holds the weight.
#[test]
fn commands_move_traffic_and_judge_it() {
    let book = |more: &str| {
        format!(
            r#"
runbook: commands
secrets: {{ token: {{ env: DEPLOY_TOKEN }} }}
traffic:
  file: {{ run: {{ set: [sh, -c, 'echo "$SWITCHOVER_WEIGHT" >> weights'], get: [sh, -c, 'tail -1 weights'] }} }}
phases:
  p:
    steps:
      go:
        shift:
          traffic: file
          steps: [10, 50, 100]
          bake: 600ms
          {more}
        env: {{ TOKEN: {{ secret: token }} }}
"#
        )
    };
    let analysis = |condition: &str| {
        format!(
            "analysis: [{{ name: seen, run: 'echo \"$TOKEN\" >&2; tail -1 weights', {condition}, \
             every: 100ms, failure_limit: 2 }}]\n          back: last_good"
        )
    };
    let sandbox = Sandbox::with(&book(&analysis("success: int(stdout) <= 100")));
    sandbox.write("weights", "3\n");
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.read("weights"), "3\n10\n50\n100\n3\n");
    let events = sandbox.run("audit --format json");
    assert!(!events.contains("correct-horse") && events.contains("token"), "{events}");

    let sandbox = Sandbox::with(&book(&analysis("failure: int(stdout) > 40")));
    sandbox.write("weights", "0\n");
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("failed with 3 bad readings")
            && shown.contains("back at 10 % on the new side"),
        "{shown}"
    );
    assert_eq!(sandbox.read("weights"), "0\n10\n50\n10\n");

    // What an analysis says is told where it is not what it said before.
    let events = sandbox.run("audit --format json");
    assert_eq!(events.matches("analysis_read").count(), 2, "{events}");
    let audit = sandbox.run("audit");
    for words in [
        "reading  p/go: seen is good at 10 %: stdout is \"10\"",
        "reading  p/go: seen is bad at 50 %: stdout is \"50\"",
    ] {
        assert!(audit.contains(words) && shown.contains(words), "{words}: {audit}");
    }

    // Neither of the two holds.
    let sandbox =
        Sandbox::with(&book(&analysis("failure: int(stdout) > 40, success: int(stdout) < 5")));
    sandbox.write("weights", "0\n");
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("paused: 10 % of file on the new side is neither good nor bad")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    assert_eq!(sandbox.read("weights"), "0\n10\n0\n");

    let sandbox = Sandbox::with(&book("").replace("tail -1 weights", "echo much"));
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("is to print how many percent the new side has, but printed `much`"),
        "{shown}"
    );
    assert!(!sandbox.path("weights").exists());
}

/// Needs no servers: the new side is good from two seconds after its weight is set.
#[test]
fn an_analysis_begins_after_its_initial_delay() {
    for (delay, is_good) in [("", false), (", initial_delay: 4s", true)] {
        let sandbox = Sandbox::with(&format!(
            r#"
runbook: delayed
traffic:
  file: {{ run: {{ set: [sh, -c, 'echo "$SWITCHOVER_WEIGHT" > weight'], get: [cat, weight] }} }}
phases:
  p:
    steps:
      go:
        shift:
          traffic: file
          to: 10
          analysis: [{{ name: warm, run: 'test $(( $(date +%s) - $(stat -c %Y weight) )) -ge 2', success: exit_code == 0{delay} }}]
"#
        ));
        sandbox.write("weight", "0\n");
        let shown = sandbox.run("run book.yaml");
        assert_eq!(shown.ends_with("exit 0"), is_good, "{shown}");
        assert_eq!(
            shown.contains("failed with a bad reading: exit_code is 1; traffic is back at 0 %"),
            !is_good,
            "{shown}"
        );
        assert_eq!(sandbox.read("weight"), if is_good { "10\n" } else { "0\n" });
    }
}

#[test]
fn what_is_written_wrongly_is_found_before_the_run() {
    let sandbox = Sandbox::with(
        r#"
runbook: wrong
traffic: { web: { haproxy: { socket: /s, backend: b, from: old, to: new } } }
phases:
  p:
    steps:
      a: { shift: { traffic: wep, to: 10 } }
      b: { shift: { traffic: web } }
      c: { shift: { traffic: web, to: 10, analysis: [{ name: x, prometheus: "http://x", query: y }] } }
      d: { shift: { traffic: web, to: 10, analysis: [{ name: x, prometheus: "http://x", success: value < 1 }] } }
      e: { shift: { traffic: web, steps: [120] } }
      f: { shift: { traffic: web, to: 10, analysis: [{ name: x, run: "true", success: valu < 1 }] } }
"#,
    );
    let shown = sandbox.run("check book.yaml");
    for words in [
        "there is no traffic `wep`",
        "did you mean `web`?",
        "exactly one of `to` and `steps` belongs here",
        "nothing says when the analysis `x` is good",
        "the analysis `x` needs exactly one reading",
        "120 is out of range",
        "the name `valu` is not defined here",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
