//! Listings of Route 53 that come in pieces. moto knows neither the identifier from which a listing
//! goes on nor sets in their order, so a stand-in between cuts moto's whole listing into pages as
//! Route 53 documents it: **it is not Route 53.** It hands on all the rest.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::route53::{book_at, environment, plain, sets, upsert, weighted, zone};
use super::route53_slow::{moto, request};
use super::sandbox::Sandbox;

/// Lists so many sets of records at once, and how many lists it has given.
fn pages(size: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || pass_on(stream.unwrap(), size, &counted));
        }
    });
    (port, count)
}

fn pass_on(mut here: TcpStream, size: usize, count: &AtomicUsize) {
    let Some((head, body)) = request(&here) else { return };
    let path = head.split(' ').nth(1).unwrap();
    let (status, mut answer) = match path.split_once("/rrset?") {
        Some((_, query)) if head.starts_with("GET") => {
            // Nobody needs so many: who asks on and on gets an error, not a test without an end.
            if count.fetch_add(1, SeqCst) > 100 {
                ("500 Internal Server Error".to_owned(), String::new())
            } else {
                let of = |name: &str| {
                    query.split('&').find_map(|pair| {
                        Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned())
                    })
                };
                // The identifier is for the stand-in: moto lists from the name and the type on.
                let asked = query
                    .split('&')
                    .filter(|pair| !pair.starts_with("identifier="))
                    .collect::<Vec<_>>()
                    .join("&");
                let (status, whole) = moto(&head.replacen(query, &asked, 1), &body);
                (status, page(&whole, of("identifier").as_deref(), size))
            }
        }
        _ => moto(&head, &body),
    };
    // It counts at once here.
    answer = answer.replace("PENDING", "INSYNC");
    let length = answer.len();
    let _ = write!(
        here,
        "HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\
         \nConnection: close\r\n\r\n{answer}"
    );
}

/// Of a whole listing the page that begins at the identifier, within the first name and type.
fn page(whole: &str, from: Option<&str>, size: usize) -> String {
    let of = |set: &str, key: &str| {
        let (_, rest) = set.split_once(&format!("<{key}>"))?;
        Some(rest.split('<').next().unwrap().to_owned())
    };
    let mut all: Vec<&str> = whole
        .split("<ResourceRecordSet>")
        .skip(1)
        .map(|rest| rest.split("</ResourceRecordSet>").next().unwrap())
        .collect();
    let name = |set: &str| {
        (of(set, "Name").unwrap().trim_end_matches('.').to_owned(), of(set, "Type").unwrap())
    };
    all.sort_by_key(|set| (name(set), of(set, "SetIdentifier")));
    let first = all.first().map(|set| name(set));
    all.retain(|set| Some(name(set)) != first || of(set, "SetIdentifier").as_deref() >= from);
    let shown: String = all
        .iter()
        .take(size)
        .map(|set| format!("<ResourceRecordSet>{set}</ResourceRecordSet>"))
        .collect();
    let next = all.get(size).map_or_else(String::new, |set| {
        let identifier = of(set, "SetIdentifier")
            .map(|id| format!("<NextRecordIdentifier>{id}</NextRecordIdentifier>"));
        let (name, kind) = name(set);
        format!(
            "<NextRecordName>{name}.</NextRecordName><NextRecordType>{kind}</NextRecordType>{}",
            identifier.unwrap_or_default()
        )
    });
    let is_truncated = all.len() > size;
    format!(
        "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse \
         xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\
         \"><ResourceRecordSets>{shown}</ResourceRecordSets><IsTruncated>{is_truncated}</IsTruncated>{next}<MaxItems>{size}</MaxItems></ListResourceRecordSetsResponse>"
    )
}

#[test]
fn a_set_on_a_later_page_is_found_and_the_listing_ends_with_its_name() {
    for size in [1, 2, 5] {
        let domain = format!("pages{size}.example");
        let (id, name) = (zone(&domain), format!("shop.{domain}"));
        for at in 1..=5u8 {
            upsert(
                &id,
                &name,
                "A",
                &weighted(&format!("pages{size}-{at}"), at * 10, 60, &format!("192.0.2.{at}")),
            );
        }
        // Behind the name, with an identifier that comes before those of the name.
        upsert(
            &id,
            &format!("zoo.{domain}"),
            "A",
            &weighted(&format!("pages{size}-0"), 1, 60, "192.0.2.9"),
        );
        upsert(&id, &format!("zoo2.{domain}"), "A", &plain(60, "192.0.2.9"));
        let before = sets(&id);
        let (port, count) = pages(size);
        let sandbox = Sandbox::with(&book_at(
            &format!("http://127.0.0.1:{port}"),
            &domain,
            &format!(
                "phases: {{ p: {{ steps: {{ a: {{ dns: {{ zone: cloud, name: shop, type: A, set: \
                 pages{size}-5, value: 192.0.2.55, weight: 255, expect: [192.0.2.5] }} }} }} }} }}\
                 \n"
            ),
        ));
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(shown.ends_with("exit 0"), "{size}: {shown}");
        let now = sets(&id);
        let changed = now.iter().filter(|set| !before.contains(set)).collect::<Vec<_>>();
        assert!(
            changed.len() == 1
                && changed[0].contains(">192.0.2.55<")
                && changed[0].contains("<Weight>255<"),
            "{size}: {changed:?}"
        );
        // Each reading took as many pages as the name has, and no more.
        let lists = count.load(SeqCst);
        assert!(lists > 0 && lists % 5usize.div_ceil(size) == 0, "{size}: {lists}");
        let shown = sandbox.run_with("rollback", &environment());
        assert!(shown.ends_with("exit 4"), "{size}: {shown}");
        let without_dots = |sets: Vec<String>| sets.join("\n").replace(".example.<", ".example<");
        assert_eq!(without_dots(sets(&id)), without_dots(before), "{size}");
    }
}
