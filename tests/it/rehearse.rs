//! Rehearsals: what they say, and whether it is true.

use serde_json::Value as Json;

use super::sandbox::{Sandbox, repository};

/// What happened, in order: each event with its step.
fn order(events: &[Json]) -> Vec<String> {
    let words = |event: &Json| {
        format!(
            "{} {}",
            event["event"].as_str().unwrap_or_default(),
            event["step"].as_str().unwrap_or_default()
        )
    };
    events.iter().map(words).filter(|words| !words.starts_with("cursor_saved")).collect()
}

fn lived(sandbox: &Sandbox) -> Vec<Json> {
    let log = sandbox.json("audit --format json")["log"].as_array().cloned().unwrap_or_default();
    log.into_iter().map(|entry| entry["event"].clone()).collect()
}

fn quickstart() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "quickstart.yaml",
        std::fs::read(repository().join("runbooks/quickstart.yaml")).expect("the quickstart"),
    );
    sandbox
}

#[test]
fn the_order_of_events_is_the_real_one() {
    let sandbox = quickstart();
    let rehearsed = sandbox
        .json("rehearse quickstart.yaml --parallel 1 --runs 0 --fail-at space --format json");
    assert_eq!(sandbox.code("run quickstart.yaml --parallel 1"), 0);
    let timeline = rehearsed["timeline"].as_array().expect("a timeline");
    assert_eq!(order(timeline), order(&lived(&sandbox)));
}

/// Each step of this fails when there is a file of its name.
const BOOK: &str = "runbook: r
guards:
  errors: { from: b, until: c, run: 'test ! -e errors && echo good || echo bad', success: 'stdout == \"good\"', every: 10ms, on_breach: rollback }
phases:
  p:
    steps:
      a: { run: 'test ! -e a', undo: { run: 'test ! -e undo-a', estimate: 1s }, estimate: 1s }
      b: { run: 'test ! -e b; sleep 0.3', undo: { run: 'test ! -e undo-b', estimate: 1s }, estimate: 1s, on_failure: rollback }
      c: { run: 'test ! -e c', estimate: 1s }
      gate: { approve: 'Go on?', estimate: 1s, role: lead }
      d: { run: 'test ! -e d', undo: none, estimate: 1s, on_failure: continue }
";

#[test]
fn every_failure_that_is_made_for_real_ends_as_rehearsed() {
    let rehearsed = Sandbox::with(BOOK).json("rehearse book.yaml --runs 0 --format json");
    let cases = rehearsed["cases"].as_array().expect("cases");
    let (mut tried, mut wrong) = (0, Vec::new());
    for case in cases {
        let (mishap, step) = (
            case["mishap"]["mishap"].as_str().unwrap_or_default(),
            case["mishap"]["step"].as_str().unwrap_or_default(),
        );
        let name = step.trim_start_matches("p/");
        let sandbox = Sandbox::with(BOOK);
        match mishap {
            "fails" => sandbox.write(name, ""),
            "undo_fails" => sandbox.write(&format!("undo-{name}"), ""),
            "breached" => sandbox.write("errors", ""),
            "refused" | "unanswered" => {}
            _ => continue,
        }
        tried += 1;
        let mut code = sandbox.code("run book.yaml");
        if code == 3 && mishap != "unanswered" {
            let (answer, then) =
                if mishap == "refused" { ("no-go", "rollback") } else { ("go", "resume") };
            sandbox.code(&format!("resolve gate --as {answer} --reason tested"));
            code = sandbox.code(then);
        }
        // The operator of a rehearsal goes back from whatever has stopped.
        if code == 1 || mishap == "undo_fails" {
            code = sandbox.code("rollback");
        }
        let ends = match code {
            0 => "finished",
            3 => "waits",
            4 => "rolled_back",
            _ => "stuck",
        };
        if case["ends"] != ends {
            wrong.push(format!("{mishap} {step}: rehearsed {}, but it {ends}", case["ends"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(tried, 9);
}

/// Each step of the quickstart fails for real, once it has done its work, and every third undo
/// does.
#[test]
fn every_failure_of_the_quickstart_ends_as_rehearsed() {
    let sandbox = quickstart();
    let rehearsed = sandbox.json("rehearse quickstart.yaml --runs 0 --format json");
    let quick = sandbox
        .read("quickstart.yaml")
        .replace("sleep 0.2", "sleep 0.01")
        .replace("default: 200000", "default: 200");
    let book: Json = serde_yaml::from_str(&quick).expect("a runbook");
    let of_a_kind = |kind: &'static str| {
        let cases = rehearsed["cases"]
            .as_array()
            .expect("cases")
            .iter()
            .filter(move |case| case["mishap"]["mishap"] == kind);
        // All copies of a step fail, and end as the first of them.
        cases.filter(|case| {
            !case["mishap"]["step"]
                .as_str()
                .is_some_and(|step| step.contains('[') && !step.ends_with("[0]"))
        })
    };
    let cases: Vec<&Json> = of_a_kind("fails").chain(of_a_kind("undo_fails").step_by(3)).collect();
    assert!(cases.len() > 30, "{}", cases.len());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let tried = || {
        while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let (kind, step) = (
                case["mishap"]["mishap"].as_str().expect("a kind"),
                case["mishap"]["step"].as_str().expect("a step"),
            );
            let (phase, name) = step.trim_end_matches("[0]").split_once('/').expect("its phase");
            let mut failing = book.clone();
            let fails = &mut failing["phases"][phase]["steps"][name];
            (if kind == "fails" { fails } else { &mut fails["undo"] })["expect"] = "1 == 2".into();
            let sandbox = quickstart();
            sandbox.write("failing.yaml", failing.to_string());
            let mut code = sandbox.code("run failing.yaml");
            // The operator of a rehearsal goes back from whatever has stopped, and from the end to
            // see an undo fail.
            if code == 1 || kind == "undo_fails" {
                code = sandbox.code("rollback");
            }
            let ends = match code {
                0 => "finished",
                4 => "rolled_back",
                _ => "stuck",
            };
            assert_eq!(case["ends"], ends, "{kind} {step}: {}", sandbox.run("status"));
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(tried))));
}

#[test]
fn a_rehearsal_says_first_what_cannot_be_undone_and_what_hangs() {
    let sandbox = Sandbox::with(BOOK);
    insta::assert_snapshot!(sandbox.run("rehearse book.yaml --seed 7"), @"
    r: rehearsed once smoothly and with 22 mishaps, 4 at once, seed 7

    cannot be undone: a rollback stops there and asks
      p/c

    stuck, although no undo or release fails
      p/c fails: stays p/a, p/b, p/c
      p/gate is refused: stays p/a, p/b, p/c

    nothing ends these if they hang: give them a timeout
      p/a
      the undo of p/a
      p/b
      the undo of p/b
      p/c
      p/d

    smooth: finished after 5s, downtime <time>
    by chance: of 1000 runs 100.0 % finish; of these half after 5.2s, 95 of 100 after 6.8s; downtime <time> and 0ms
    critical path: p/a, p/b, p/c, p/gate, p/d
    gate p/gate: asked after <time>
    of 22 mishaps: 14 finished, 3 rolled back, 1 waits, 4 stuck; 3 ask a person

    mishaps after which it does not go on by itself (--all shows the others too)
      p/a fails                                    rolled back   back in <time>  asks
      the undo of p/a fails                        stuck         back in <time>  stays: p/a, p/b, p/c  did not come to pass
      p/b fails                                    rolled back   back in <time>
      the undo of p/b fails                        stuck         back in <time>  stays: p/a, p/b, p/c  did not come to pass
      p/c fails                                    stuck         back in <time>  stays: p/a, p/b, p/c  asks
      p/gate is refused                            stuck         back in <time>  stays: p/a, p/b, p/c  asks
      p/gate is not answered                       waits         stays: p/a, p/b, p/c
      errors is breached                           rolled back   back in <time>
    exit 0
    ");
    insta::assert_snapshot!(sandbox.run("rehearse book.yaml --runs 0 --fail-at b --slow b=3x"), @"
    r: rehearsed once smoothly and with 1 mishaps, 4 at once, seed 1

    cannot be undone: a rollback stops there and asks
      p/c

    nothing ends these if they hang: give them a timeout
      p/a
      the undo of p/a
      p/b
      the undo of p/b
      p/c
      p/d

    smooth: finished after 7s, downtime <time>
    critical path: p/a, p/b, p/c, p/gate, p/d
    gate p/gate: asked after <time>
    of 1 mishaps: 1 rolled back; 0 ask a person

    mishaps after which it does not go on by itself (--all shows the others too)
      p/b fails                                    rolled back   back in <time>
    exit 0
    ");
    insta::assert_snapshot!(sandbox.run("rehearse book.yaml --slow b=fast"), @"
    error: --slow b=fast is not understood
      next: write --slow STEP=3x
    exit 2
    ");
    assert!(sandbox.path("journal").exists(), "what was found is evidence");
}

/// A hold, an undo with a timeout, messages to people, and budgets that some mishaps exceed.
const HOLD: &str = "runbook: r
title: 'A <script>alert(1)</script> & \"move\"'
budgets: { downtime: 4s, rollback: 7s, duration: 20s }
messages: { failure: failure, waiting: waiting, report: report }
phases:
  p:
    title: Do <it>
    steps:
      silence: { run: touch silent, undo: none, estimate: 1s, hold: { until: b, release: { run: 'test ! -e release && rm -f silent' } } }
      a: { run: 'true', undo: { run: 'test ! -e late || sleep 60', timeout: 2s, estimate: 1s }, estimate: 1s, downtime: begins }
      node: { for_each: [x, 'y<b>'], run: 'true', undo: { run: 'true', timeout: 9s, estimate: 4s }, estimate: 1s }
      b: { run: 'true', timeout: 5s, undo: { run: 'true', estimate: 1s }, estimate: 2s, downtime: ends }
      gate: { approve: 'Go on?', estimate: 1s, role: lead }
      tell: { notify: { to: ['dba@example.test', crew], subject: 'It is done', body: 'Until <then>.' } }
      unknown: { run: 'true', when: \"steps.b.there == 1\", needs: [tell, b], undo: none }
      last: { run: 'true', when: 'false' }
";

fn case<'a>(rehearsed: &'a Json, mishap: &str, step: &str) -> &'a Json {
    let is_it = |case: &&Json| case["mishap"]["mishap"] == mishap && case["mishap"]["step"] == step;
    rehearsed["cases"]
        .as_array()
        .and_then(|cases| cases.iter().find(is_it))
        .unwrap_or_else(|| panic!("no case: {mishap} {step}"))
}

#[test]
fn a_release_that_fails_and_an_undo_that_takes_too_long_end_as_rehearsed() {
    let rehearsed = Sandbox::with(HOLD).json("rehearse book.yaml --runs 0 --format json");
    let sandbox = Sandbox::with(HOLD);
    sandbox.write("release", "");
    assert_eq!(case(&rehearsed, "release_fails", "p/silence")["ends"], "stuck");
    assert_eq!(sandbox.code("run book.yaml"), 5);
    let sandbox = Sandbox::with(HOLD);
    sandbox.write("late", "");
    assert_eq!(sandbox.code("run book.yaml --until b"), 0);
    let found = case(&rehearsed, "undo_times_out", "p/a");
    assert_eq!((&found["ends"], &found["stays"]), (&"stuck".into(), &serde_json::json!(["p/a"])));
    assert_eq!(sandbox.code("rollback"), 5);
}

#[test]
fn who_is_told_what_is_said_for_every_mishap() {
    let rehearsed = Sandbox::with(HOLD).json("rehearse book.yaml --runs 0 --format json");
    let told = |case: &Json| -> Vec<String> {
        let words = |told: &Json| {
            format!("{} {}", told["occasion"].as_str().unwrap_or_default(), told["to"])
        };
        case["told"].as_array().expect("a list").iter().map(words).collect()
    };
    let notify = r#"notify ["dba@example.test","crew"]"#;
    assert_eq!(told(&rehearsed["smooth"]), ["waiting []", notify, "report []"]);
    assert_eq!(told(case(&rehearsed, "fails", "p/b")), ["failure []", "report []"]);
    assert_eq!(told(case(&rehearsed, "unanswered", "p/gate")), ["waiting []"]);
    let letter = rehearsed["timeline"]
        .as_array()
        .expect("a timeline")
        .iter()
        .find(|mark| mark["occasion"] == "notify")
        .expect("it");
    assert_eq!(
        (&letter["subject"], &letter["body"]),
        (&"It is done".into(), &"Until <then>.".into())
    );
}

#[test]
fn budgets_are_held_against_every_mishap() {
    let sandbox = Sandbox::with(HOLD);
    let rehearsed = sandbox.json("rehearse book.yaml --runs 0 --format json");
    let over = |mishap: &str, step: &str| case(&rehearsed, mishap, step)["over"].clone();
    let failed = case(&rehearsed, "fails", "p/b");
    // b takes 1s to undo, then the nodes 4s at once, then a 1s; the operator's minute comes before.
    assert_eq!(
        (&failed["back_ms"], &failed["over"]),
        (&6000.into(), &serde_json::json!(["downtime", "duration"]))
    );
    assert_eq!(over("undo_times_out", "p/node[x]"), serde_json::json!(["rollback", "downtime"]));
    assert_eq!(over("killed_before", "p/silence"), serde_json::json!(["duration"]));
    // The same whatever else runs beside it, and again.
    let again = sandbox.json("rehearse book.yaml --runs 50 --seed 3 --format json");
    let forecast = |rehearsed: &Json| rehearsed["forecast"].clone();
    assert_eq!(
        forecast(&again),
        forecast(&sandbox.json("rehearse book.yaml --runs 50 --seed 3 --format json"))
    );
    assert_ne!(
        forecast(&again),
        forecast(&sandbox.json("rehearse book.yaml --runs 50 --seed 4 --format json"))
    );
    let alone = sandbox.json("rehearse book.yaml --runs 50 --seed 3 --no-mishaps --format json");
    assert_eq!(
        (forecast(&alone), alone["cases"].as_array().map(Vec::len)),
        (forecast(&again), Some(0))
    );
}

#[test]
fn what_leaves_production_down_is_said_first_and_exceeds_its_budget() {
    let sandbox = Sandbox::with(HOLD);
    let found = sandbox.json("rehearse book.yaml --runs 0 --format json");
    let late = case(&found, "undo_times_out", "p/a");
    assert_eq!((&late["ends_down"], &late["ends"]), (&true.into(), &"stuck".into()));
    assert!(late["over"].as_array().expect("a list").contains(&"downtime".into()), "{late}");
    assert_eq!(case(&found, "fails", "p/b")["ends_down"], false);
    let shown = sandbox.run("rehearse book.yaml --runs 0");
    let first = shown.lines().skip(1).find(|line| !line.is_empty());
    assert_eq!(first, Some("production stays down until a person has acted"), "{shown}");
    assert!(shown.contains("  the undo of p/a times out: stays p/a\n"), "{shown}");
}

#[test]
fn a_step_that_takes_longer_than_it_may_times_out_whatever_else_goes_wrong() {
    let sandbox = Sandbox::with(HOLD);
    assert_eq!(sandbox.code("rehearse book.yaml --runs 0 --no-mishaps"), 0);
    let shown = sandbox.run("rehearse book.yaml --runs 0 --no-mishaps --slow b=3x");
    assert!(shown.contains("smooth: rolled back") && shown.ends_with("exit 1"), "{shown}");
    sandbox.write("book.yaml", "runbook: r
phases:
  p:
    steps:
      a: { run: 'true', undo: none, timeout: 5m, estimate: 10m }
      b: { run: 'true', undo: none, timeout: 5m, idempotent: true, retry: { attempts: 2 }, estimate: 10m }
");
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"
    error book.yaml:5:60
      x the step is expected to take 10m, and its timeout ends it after <time>
       ,-[book.yaml:5:60]
     4 |     steps:
     5 |       a: { run: 'true', undo: none, timeout: 5m, estimate: 10m }
       :                                                            ^^^
     6 |       b: { run: 'true', undo: none, timeout: 5m, idempotent: true, retry: { attempts: 2 }, estimate: 10m }
       `----
      help: give it a longer timeout, or a smaller estimate
    one problem in the runbook; nothing was journaled
    exit 2
    ");
}

#[test]
fn what_cannot_go_wrong_so_is_refused_or_said() {
    let sandbox = Sandbox::with(HOLD);
    let refused =
        sandbox.json("rehearse book.yaml --runs 0 --fail-at gate --kill-at gate --format json");
    let mishaps: Vec<&Json> = refused["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(|case| &case["mishap"]["mishap"])
        .collect();
    assert_eq!(mishaps, ["refused", "killed_in"]);
    assert_eq!(
        (&refused["cases"][1]["ends"], &refused["cases"][1]["came"]),
        (&"finished".into(), &true.into())
    );
    insta::assert_snapshot!(sandbox.run("rehearse book.yaml --fail-at tell"), @"
    error: p/tell does nothing outside in which it could fail or die: it is a notify
      next: name a step that does something; of a nested runbook, one of its own steps
    exit 2
    ");
    // A step that is passed over, and a guard that is watched for a shorter time than it may be
    // bad.
    let shown = sandbox.run("rehearse book.yaml --fail-at last --runs 0");
    assert!(
        shown.lines().any(
            |line| line.starts_with("  p/last fails") && line.ends_with("did not come to pass")
        ),
        "{shown}"
    );
    sandbox.write(
        "book.yaml",
        "runbook: r
guards: { g: { from: a, run: 'true', success: 'true', for: 10m, on_breach: pause } }
phases: { p: { steps: { a: { run: 'true', undo: none, estimate: 4s } } } }
",
    );
    let found = sandbox.json("rehearse book.yaml --runs 0 --format json");
    let breached = found["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .find(|case| case["mishap"]["mishap"] == "breached")
        .expect("it");
    assert_eq!((&breached["came"], &breached["took_ms"]), (&false.into(), &4000.into()));
}

#[test]
fn of_runs_by_chance_those_that_finish_say_how_long_it_takes() {
    let sandbox = Sandbox::with(
        "runbook: r
budgets: { duration: { limit: 21m, on_breach: rollback } }
phases: { p: { steps: { a: { run: 'true', undo: none, estimate: 10m }, b: { run: 'true', undo: none, estimate: 10m } } } }
",
    );
    let forecast = sandbox.json(
        "rehearse book.yaml --no-mishaps --runs 200 --html page.html \
        --format json",
    )["forecast"]
        .clone();
    assert!(
        sandbox
            .read("page.html")
            .contains(">Of the runs that finish, 95 of 100 are done within 20m")
    );
    let finished = forecast["finished"].as_f64().expect("a share");
    assert!(finished > 0.1 && finished < 0.9, "{forecast}");
    assert_eq!(
        forecast["within_duration"], forecast["finished"],
        "nothing that goes back is done in time"
    );
    assert!(forecast["took_ms"][1].as_u64() <= Some(21 * 60_000), "{forecast}");
}

#[test]
fn the_critical_path_is_the_one_of_the_smooth_run() {
    let sandbox = Sandbox::with(
        "runbook: r
phases:
  p:
    steps:
      a: { run: 'true', undo: none, estimate: 1m }
      b: { wait: 10m, needs: [] }
      c: { for_each: { in: [1, 2, 3], max_parallel: 1 }, run: 'true', undo: none, needs: [a, b], estimate: 1m }
",
    );
    let found = sandbox.json("rehearse book.yaml --no-mishaps --runs 0 --format json");
    assert_eq!(
        found["forecast"]["critical"],
        serde_json::json!(["p/b", "p/c[1]", "p/c[2]", "p/c[3]"])
    );
    assert_eq!(found["smooth"]["took_ms"], 13 * 60_000);
}

#[test]
fn five_earlier_runs_say_how_long_a_step_takes_and_how_far_that_spreads() {
    let sandbox = Sandbox::with(
        "runbook: \
         r\
         \nphases: { p: { steps: { a: { run: sleep 0.05, undo: none }, b: { run: 'true', undo: none, estimate: 3s } } } \
         }\n",
    );
    let known = |rehearsed: &Json| {
        [
            rehearsed["unknown"].clone(),
            rehearsed["from_history"].clone(),
            rehearsed["spread_from_history"].clone(),
        ]
    };
    let rehearse = || sandbox.json("rehearse book.yaml --runs 20 --format json");
    assert_eq!(
        known(&rehearse()),
        [serde_json::json!(["p/a"]), serde_json::json!([]), serde_json::json!([])]
    );
    for _ in 0..5 {
        assert_eq!(sandbox.code("run book.yaml"), 0);
    }
    let rehearsed = rehearse();
    assert_eq!(known(&rehearsed)[..2], [serde_json::json!([]), serde_json::json!(["p/a"])]);
    assert!(rehearsed["spread_from_history"].as_array().expect("a list").contains(&"p/a".into()));
    assert!(rehearsed["smooth"]["took_ms"].as_u64() >= Some(3050));
    assert!(
        sandbox
            .run("rehearse book.yaml")
            .contains("no estimate, so they take what they took in earlier runs\n  p/a\n")
    );
}

/// What is wrong with a page: tags that do not match, attributes without quotes, text that could be
/// taken for a tag.
fn faults(page: &str) -> Vec<String> {
    const VOID: [&str; 3] = ["meta", "br", "!DOCTYPE"];
    let tag = regex::Regex::new(
        r#"^<(/?)([A-Za-z!][A-Za-z0-9]*)((?: +[A-Za-z][A-Za-z0-9-]*(?:="[^"<>]*")?)*) ?(/?)>"#,
    )
    .expect("a pattern");
    let entity = regex::Regex::new("^&(amp|lt|gt|quot|#x27|#x3D|#x60);").expect("a pattern");
    let (mut wrong, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(next) = page[at..].find(['<', '>', '&']).map(|next| at + next) {
        let rest = &page[next..];
        let here = || rest.chars().take(60).collect::<String>();
        at = next + 1;
        if open.last() == Some(&"style") && !rest.starts_with("</style>") {
            continue;
        }
        let Some(found) = tag.captures(rest) else {
            if !entity.is_match(rest) {
                wrong.push(format!("what is this: {}", here()));
            }
            continue;
        };
        at = next + found[0].len();
        let name = found.get(2).map_or("", |name| name.as_str());
        match (&found[1], &found[4]) {
            ("/", _) if open.last() == Some(&name) => drop(open.pop()),
            ("/", _) => wrong.push(format!("closes what is not open: {}", here())),
            (_, "/") => {}
            _ if VOID.contains(&name) => {}
            _ => open.push(name),
        }
    }
    wrong.extend(open.into_iter().map(|name| format!("<{name}> is not closed")));
    wrong
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let mut sandbox = quickstart();
    sandbox.write("book.yaml", HOLD);
    for book in ["quickstart.yaml", "book.yaml"] {
        let said = sandbox.run(&format!("rehearse {book} --runs 20 --html page.html"));
        assert!(said.ends_with("\nthe page is page.html\nexit 0"), "{said}");
        let page = sandbox.read("page.html");
        assert_eq!(faults(&page), [] as [String; 0], "{book}");
        for foreign in
            ["<link", "<script", "src=", "href=", "@import", "url(", "http://", "https://"]
        {
            assert!(!page.contains(foreign), "{book} has {foreign}");
        }
    }
    sandbox.run("rehearse quickstart.yaml --runs 0 --no-mishaps --html page.html");
    assert_eq!(sandbox.code("run quickstart.yaml --until prepare/folders"), 0);
    let audited = sandbox.json("audit --format json");
    assert!(
        sandbox.read("page.html").contains(audited["definition"].as_str().expect("a digest")),
        "the digest is another one"
    );
    assert_eq!(
        faults("<p>a < b</p><br /><td class=x></i>").len(),
        4,
        "what looks for faults finds some"
    );
    // Nothing is left beside it, also not of one that could not be written.
    sandbox.write("taken/page.html/file", "");
    let refused = sandbox
        .in_folder("taken")
        .run("rehearse ../book.yaml --runs 0 --no-mishaps --html page.html");
    assert!(
        refused.contains("the page page.html cannot be written") && refused.ends_with("exit 6"),
        "{refused}"
    );
    let refused = sandbox.run("rehearse book.yaml --html nowhere/page.html");
    assert!(
        refused.contains("there is no folder nowhere; nothing was rehearsed")
            && refused.ends_with("exit 6"),
        "{refused}"
    );
    let names = std::fs::read_dir(sandbox.path("taken"))
        .expect("a folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(names.filter(|name| name.contains("page")).collect::<Vec<_>>(), ["page.html"]);
}

#[test]
fn the_page_shows_what_a_rehearsal_found_as_text() {
    let sandbox = Sandbox::with(HOLD);
    sandbox.run("rehearse book.yaml --runs 20 --seed 7 --html page.html");
    let page = sandbox.read("page.html");
    let shows = |text: &str| assert!(page.contains(text), "the page does not show {text}");
    shows("<h1>A &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;move&quot;</h1>");
    shows("seed 7");
    shows("Do &lt;it&gt;");
    let list = |title: &str, item: &str| {
        let from = page.find(title).unwrap_or_else(|| panic!("no list {title}"));
        let list = &page[from..from + page[from..].find("</ul>").expect("its end")];
        assert!(list.contains(item), "{title} has no {item}: {list}");
    };
    list("<h3>Cannot be undone", "<li>p/last</li>");
    list(
        "<h3>The way back exceeds its budget",
        "<li>the undo of p/node[…] times out (2): 10s</li>",
    );
    list("<h3>Production stays down", "the undo of p/a times out");
    list("<h3>Production is down for longer", "p/b fails");
    list("<h3>Nothing ends these if they hang", "<li>p/node[…] (2)</li>");
    list("<h3>Taken to hold", "p/unknown: steps.b.there");
    list("<h3>Nobody says how long these take", "<li>p/unknown</li>");
    // The chart, the graph, the gate, the messages, and who is told of a failure.
    shows("node[…] ×2</th>");
    shows("production is down for 4s from 0:00:01");
    shows("silence is held for");
    shows("◆ p/gate</td><td>lead</td><td class=\"words\">Go on?</td>");
    shows("95 of 100 runs are done within");
    shows("to dba@example.test, crew");
    shows("<pre>Until &lt;then&gt;.</pre>");
    shows("<b>p/b</b><br />fails");
}

#[test]
fn the_page_says_each_kind_of_mishap_once_and_every_question() {
    let sandbox = Sandbox::with(
        "runbook: r\nphases: { p: { steps: { a: { run: 'true', undo: none, estimate: 1s }, \
         node: { for_each: [x, y], run: 'true', undo: none, timeout: 9s, estimate: 1s } } } }\n",
    );
    sandbox.run("rehearse book.yaml --runs 0 --html page.html");
    let page = sandbox.read("page.html");
    assert!(page.contains("<b>p/node[…] (2)</b><br />fails, times out</td>"), "{page}");
    assert!(page.contains("asked: p/node[…] failed: mend it or go back (2)</div>"), "{page}");
}

#[test]
fn what_reverses_text_is_shown_and_not_obeyed() {
    let sandbox = Sandbox::with(
        "runbook: r
title: \"\\u202Eevil\"
description: \"\\u2066odd\"
phases: { p: { steps: { a: { for_each: [\"\\u200Fx\"], run: 'true', when: \"false\" }, b: { run: 'true', undo: none, title: 'مرحبا' }, c: { notify: { subject: \"\\u202Erev\", body: \"\\u202Etext\" } } } } }
",
    );
    let said = sandbox.run("rehearse book.yaml --runs 0 --all --html page.html");
    let page = sandbox.read("page.html");
    for text in [&said, &page] {
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200f}']), "{text}");
    }
    assert!(said.contains("p/a[\\u{200f}x]"), "{said}");
    for shown in
        ["<h1>\\u{202e}evil</h1>", "\\u{2066}odd", "\\u{202e}rev", "\\u{202e}text", "مرحبا"]
    {
        assert!(page.contains(shown), "the page does not show {shown}");
    }
}

#[test]
fn the_window_is_held_against_chance() {
    let sandbox = Sandbox::with(
        "runbook: r
window: { from: \"02:00\", to: \"03:00\" }
phases: { p: { steps: { a: { run: 'true', undo: none, estimate: 50m }, go: { approve: Go? }, b: { run: 'true', undo: none, estimate: 5m } } } }
",
    );
    let forecast =
        sandbox.json("rehearse book.yaml --runs 200 --no-mishaps --format json")["forecast"]
            .clone();
    let share = forecast["within_window"].as_f64().unwrap();
    assert!(share > 0.4 && share < 0.9, "{share}");
    // An hour, less what five minutes may take.
    let latest = forecast["gates"][0]["latest_ms"].as_i64().unwrap();
    assert!((46 * 60_000..55 * 60_000).contains(&latest), "{latest}");
    assert!(
        sandbox
            .run("rehearse book.yaml --runs 200 --no-mishaps")
            .contains("are done before the window closes")
    );
}
