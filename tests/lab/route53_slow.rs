//! A change at Route 53 counts when it says `INSYNC`. moto says so at once: what stands between
//! here and moto is a stand-in for the slowness of the real one, and says `PENDING` until a test
//! lets it go.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::route53::{book_at, environment, plain, sets, upsert, weighted, weights, zone};
use super::sandbox::{Sandbox, kill};
use super::servers::lab;

/// The way to moto, on which every change is `PENDING`.
struct Slow {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// How often a batch of changes was sent.
    batches: AtomicUsize,
    /// Which changes were asked for, in order.
    asked: Mutex<Vec<String>>,
    is_in_sync: AtomicBool,
    /// How many of the next questions are refused, with this status and code.
    refuses: Mutex<(usize, &'static str, &'static str)>,
    /// After so many questions it is in sync by itself.
    most: AtomicUsize,
}

impl Slow {
    fn begin() -> Slow {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let slow = Slow { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        slow.seen.most.store(usize::MAX, SeqCst);
        let seen = Arc::clone(&slow.seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || pass_on(&seen, stream.unwrap()));
            }
        });
        slow
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.seen.asked.lock().unwrap().clone()
    }

    fn wait_for_questions(&self, count: usize) {
        let begun = Instant::now();
        while self.asked().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", self.asked());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The next request: its head without what it says of the connection, and its body.
pub fn request(here: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(here.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "connection" => continue,
                _ => {}
            }
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some((head, body))
}

/// One request and its answer.
fn pass_on(seen: &Seen, mut here: TcpStream) {
    let Some((head, body)) = request(&here) else { return };
    let (status, answer) = match head
        .split_once("/change/")
        .map(|(_, rest)| rest.split([' ', '?']).next().unwrap().to_owned())
    {
        Some(change) => {
            let count = {
                let mut asked = seen.asked.lock().unwrap();
                asked.push(change);
                asked.len()
            };
            let mut refuses = seen.refuses.lock().unwrap();
            if refuses.0 > 0 {
                refuses.0 -= 1;
                let (_, status, code) = *refuses;
                let error = format!(
                    "<Error><Type>Sender</Type><Code>{code}</Code><Message>as the test \
                     wants</Message></Error>"
                );
                let of = "xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"";
                (
                    status.to_owned(),
                    format!("<ErrorResponse {of}>{error}<RequestId>1</RequestId></ErrorResponse>"),
                )
            } else {
                drop(refuses);
                let (status, answer) = moto(&head, &body);
                match seen.is_in_sync.load(SeqCst) || count >= seen.most.load(SeqCst) {
                    true => (status, answer),
                    false => (status, answer.replace("INSYNC", "PENDING")),
                }
            }
        }
        None => {
            seen.batches.fetch_add(usize::from(head.starts_with("POST")), SeqCst);
            let (status, answer) = moto(&head, &body);
            (status, answer.replace("INSYNC", "PENDING"))
        }
    };
    let length = answer.len();
    let _ = write!(
        here,
        "HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\
         \nConnection: close\r\n\r\n{answer}"
    );
}

/// The status and the body that moto answers.
pub fn moto(head: &str, body: &[u8]) -> (String, String) {
    let mut there = TcpStream::connect(("127.0.0.1", lab().port("route53"))).unwrap();
    write!(there, "{head}Connection: close\r\n\r\n").unwrap();
    there.write_all(body).unwrap();
    let mut answer = String::new();
    there.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().split_once(' ').unwrap().1.to_owned(), body.to_owned())
}

fn steps(slow: &Slow, zone: &str, steps: &str) -> Sandbox {
    Sandbox::with(&book_at(&slow.endpoint(), zone, &format!("phases:\n  p:\n    steps:\n{steps}")))
}

fn run(sandbox: &Sandbox, line: &str) -> String {
    sandbox.run_with(line, &environment())
}

#[test]
fn a_change_is_waited_for_until_it_is_in_sync_there_and_back() {
    let id = zone("slow.example");
    upsert(&id, "shop.slow.example", "A", &plain(60, "192.0.2.1"));
    let slow = Slow::begin();
    *slow.seen.refuses.lock().unwrap() = (1, "400 Bad Request", "Throttling");
    slow.seen.most.store(3, SeqCst);
    let sandbox = steps(
        &slow,
        "slow.example",
        "      a: { dns: { zone: cloud, name: shop, type: A, value: 192.0.2.2 } }\n",
    );
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(slow.asked(), ["C2682N5HXP0BZ4"; 3], "refused for a while, PENDING, INSYNC");
    slow.seen.most.store(5, SeqCst);
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(slow.asked().len(), 5, "and so is what puts it back");
    assert!(sets(&id).iter().any(|set| set.contains("192.0.2.1<")), "{:?}", sets(&id));
}

#[test]
fn who_takes_over_waits_for_the_same_change_and_makes_no_other() {
    let id = zone("killed.example");
    upsert(&id, "shop.killed.example", "A", &plain(60, "192.0.2.1"));
    let slow = Slow::begin();
    let sandbox = steps(
        &slow,
        "killed.example",
        "      a: { dns: { zone: cloud, name: shop, type: A, value: 192.0.2.2 } }\n",
    );
    let child = sandbox.start_heard("run book.yaml", &environment());
    let begun = Instant::now();
    while !sandbox.run("audit --format json").contains("pending C2682N5HXP0BZ4") {
        assert!(begun.elapsed() < Duration::from_secs(30), "the change is not in the journal");
        std::thread::sleep(Duration::from_millis(50));
    }
    kill(child);
    assert!(
        sets(&id).iter().any(|set| set.contains("192.0.2.2<")),
        "it was taken at once: {:?}",
        sets(&id)
    );
    let asked = slow.asked().len();
    let child = sandbox.start_heard("resume", &environment());
    slow.wait_for_questions(asked + 2);
    slow.seen.is_in_sync.store(true, SeqCst);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(slow.seen.batches.load(SeqCst), 1);
    assert!(slow.asked().iter().all(|change| change == "C2682N5HXP0BZ4"), "{:?}", slow.asked());
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
}

#[test]
fn what_is_not_in_sync_in_time_is_an_error_that_can_be_taken_up_or_back() {
    let id = zone("late.example");
    upsert(&id, "shop.late.example", "A", &plain(60, "192.0.2.1"));
    let slow = Slow::begin();
    let step =
        "      a: { dns: { zone: cloud, name: shop, type: A, value: 192.0.2.2 }, timeout: 2s }\n";
    let sandbox = steps(&slow, "late.example", step);
    let shown = run(&sandbox, "run book.yaml");
    assert!(
        shown.contains("has taken the change C2682N5HXP0BZ4, and not all its name servers had it")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    *slow.seen.refuses.lock().unwrap() = (1, "403 Forbidden", "AccessDenied");
    let shown = run(&sandbox, "resume");
    assert!(
        shown.contains("AccessDenied")
            && shown.contains("the credentials need `route53:GetChange`"),
        "{shown}"
    );
    assert!(shown.ends_with("exit 1"), "{shown}");
    // So long ago that nobody knows of it any more.
    *slow.seen.refuses.lock().unwrap() = (1, "404 Not Found", "NoSuchChange");
    let shown = run(&sandbox, "resume");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(slow.seen.batches.load(SeqCst), 1);
    slow.seen.is_in_sync.store(true, SeqCst);
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert!(sets(&id).iter().any(|set| set.contains("192.0.2.1<")), "{:?}", sets(&id));
}

#[test]
fn weights_bake_when_they_are_in_sync_and_go_back_at_once_if_it_is_stopped() {
    let id = zone("ramp.example");
    upsert(&id, "shop.ramp.example", "A", &weighted("r-old", 180, 60, "192.0.2.1"));
    upsert(&id, "shop.ramp.example", "A", &weighted("r-new", 20, 60, "192.0.2.2"));
    let slow = Slow::begin();
    let go = |shift: &str| {
        let traffic = "traffic: { names: { dns: { zone: cloud, name: shop, type: A, from: r-old, to: r-new } } \
            }\n";
        let phases = format!(
            "phases: {{ p: {{ steps: {{ go: {{ shift: {{ traffic: names, {shift} }}, timeout: \
             3s }} }} }} }}\n"
        );
        Sandbox::with(&book_at(&slow.endpoint(), "ramp.example", &format!("{traffic}{phases}")))
    };
    let now = || {
        let mut now = weights(&id);
        now.sort();
        now
    };
    let of = |new: u8, old: u8| vec![("r-new".to_owned(), new), ("r-old".to_owned(), old)];
    let shown = run(&go("to: 60"), "run book.yaml");
    assert!(
        shown.contains("has taken the change")
            && shown.contains("traffic is back at 0 % on the new side"),
        "{shown}"
    );
    assert!(shown.ends_with("exit 1"), "{shown}");
    assert_eq!(now(), of(0, 100));
    upsert(&id, "shop.ramp.example", "A", &weighted("r-old", 170, 60, "192.0.2.1"));
    upsert(&id, "shop.ramp.example", "A", &weighted("r-new", 15, 60, "192.0.2.2"));
    slow.seen.most.store(slow.asked().len() + 2, SeqCst);
    let sandbox = go("to: 70");
    let shown = run(&sandbox, "run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(now(), of(70, 30));
    assert_eq!(slow.asked().len(), slow.seen.most.load(SeqCst), "PENDING, INSYNC");
    let shown = run(&sandbox, "rollback");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(now(), of(15, 170));
}
