//! What is masked, what is not, and that neither depends on how a stream is cut.

use super::spelling::{BASE64, BASE64_URL, base64};
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

fn secrets(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn redactor(pairs: &[(&str, &str)]) -> Redactor {
    Redactor::new(&secrets(pairs))
}

fn pushed(redactor: &mut Redactor, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    redactor.push(bytes, &mut out);
    String::from_utf8(out).unwrap()
}

fn finished(redactor: &mut Redactor) -> String {
    let mut out = Vec::new();
    redactor.finish(&mut out);
    String::from_utf8(out).unwrap()
}

fn contains(text: &[u8], needle: &str) -> bool {
    text.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// What the search does, done naively: all occurrences of all needles, those that overlap made one.
fn model(search: &Search, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut done = 0;
    for at in 0..text.len() {
        let longest = search
            .needles
            .iter()
            .filter(|needle| text[at..].starts_with(needle.text.as_bytes()))
            .max_by_key(|n| n.text.len());
        if let Some(needle) = longest {
            if at >= done {
                out.extend_from_slice(search.marks[needle.secret].as_bytes());
            }
            done = done.max(at + needle.text.len());
        }
        if at >= done {
            out.push(text[at]);
        }
    }
    out
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{6,9}",
        "[ab()*]{6,9}",
        "[a \\)\\(]{3}\\(the[a \\)]{0,3}",
        "[a-z0-9]{0,4}(secret|the secret|\\(the secret \
         [AB]\\)|\\*\\*\\*\\*\\*\\*|\u{2588}{6})[a-z]{0,4}",
        "[a\"'\\\\/ \n%+<$é🔑\u{1}]{6,14}",
        "(-----BEGIN KEY-----\n)?[a-d]{8,12}\n[a-d+/ ]{6,12}\n?",
        "\\PC{6,12}",
        "[ab]{60,90}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[AB]", "[ab]{6}", "[A-Z_]{3,8}", "[ab()*]{1,4}"]
}

#[derive(Clone, Debug)]
enum Piece {
    Needle(Index),
    Part(Index, Index, Index),
    Mark(Index),
    Text(String),
    Bytes(Vec<u8>),
}

fn piece() -> impl Strategy<Value = Piece> {
    let index = any::<Index>;
    prop_oneof![
        3 => index().prop_map(Piece::Needle),
        3 => (index(), index(), index())
            .prop_map(|(needle, from, to)| Piece::Part(needle, from, to)),
        1 => index().prop_map(Piece::Mark),
        2 => "[ab()* ]{0,4}".prop_map(Piece::Text),
        1 => prop::collection::vec(any::<u8>(), 0..4).prop_map(Piece::Bytes),
    ]
}

fn assemble(search: &Search, pieces: &[Piece]) -> Vec<u8> {
    let needle = |index: &Index| search.needles[index.index(search.needles.len())].text.as_bytes();
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Needle(index) => needle(index),
        Piece::Part(index, from, to) => {
            let (from, to) =
                (from.index(needle(index).len() + 1), to.index(needle(index).len() + 1));
            &needle(index)[from.min(to)..from.max(to)]
        }
        Piece::Mark(index) => search.marks[index.index(search.marks.len())].as_bytes(),
        Piece::Text(text) => text.as_bytes(),
        Piece::Bytes(bytes) => bytes,
    });
    bytes.collect::<Vec<_>>().concat()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws(
        secrets in prop::collection::vec((name(), value()), 1..5),
        pieces in prop::collection::vec(piece(), 0..12),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let mut redactor = Redactor::new(&secrets);
        let search = Arc::clone(&redactor.search);
        let text = assemble(&search, &pieces);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();

        let mut out = Vec::new();
        for cut in cuts.windows(2) {
            redactor.push(&text[cut[0]..cut[1]], &mut out);
            // Only what may still become a needle is held, which is less than the longest.
            let held = &redactor.held;
            let goes_on = |needle: &Needle| {
                needle.text.len() > held.len() && needle.text.as_bytes().starts_with(held)
            };
            prop_assert!(held.is_empty() || search.needles.iter().any(goes_on));
        }
        redactor.finish(&mut out);
        prop_assert!(redactor.held.is_empty() && redactor.masked == 0);

        let had_needle = search.needles.iter().any(|needle| contains(&text, &needle.text));
        let has_needle = search.needles.iter().find(|needle| contains(&out, &needle.text));
        let found = has_needle.map(|needle| &needle.text);
        prop_assert!(has_needle.is_none(), "{:?} in {:?}", found, String::from_utf8_lossy(&out));
        prop_assert_eq!(had_needle, out != text);
        prop_assert_eq!(out, model(&search, &text), "of {:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn marks_do_not_join_what_is_next_to_them(
        before in "[a-c]{0,6}",
        after in "[a-c]{0,6}",
        cut in 1..13_usize,
        kind in 0..4,
    ) {
        let usual = "(the secret A)";
        let joined = match kind {
            0 => before.clone() + &usual[..cut],
            1 => usual[cut..].to_owned() + &after,
            2 => before.clone() + usual + &after,
            _ => usual[cut..].to_owned() + &before + &usual[..cut],
        };
        let redactor = redactor(&[("A", "uvwxyz"), ("B", &joined)]);
        let masked = redactor.mask(&format!("{before}uvwxyz{after}uvwxyz{before}uvwxyz"));
        let is_masked = redactor.search.needles.iter().all(|needle| !masked.contains(&needle.text));
        prop_assert!(is_masked, "{:?} in {}", joined, masked);
    }

    #[test]
    fn a_text_is_masked_like_a_stream(
        secrets in prop::collection::vec((name(), value()), 0..4),
        text in "\\PC{0,20}",
        at in any::<Index>(),
    ) {
        let mut redactor = Redactor::new(&secrets);
        let value = secrets.first().map_or("", |(_, value)| value);
        let number = at.index(text.chars().count() + 1);
        let cut = text.char_indices().map(|(at, _)| at).nth(number).unwrap_or(text.len());
        let text = format!("{}{value}{}", &text[..cut], &text[cut..]);
        let streamed = pushed(&mut redactor, text.as_bytes()) + &finished(&mut redactor);
        prop_assert_eq!(redactor.mask(&text), streamed.clone());
        prop_assert_eq!(redactor.mask(&streamed), streamed);
    }

    #[test]
    fn values_are_found_in_any_base64(
        value in "\\PC{6,40}",
        before in "\\PC{0,5}",
        after in "\\PC{0,5}",
    ) {
        let redactor = redactor(&[("A", &value)]);
        prop_assume!(value.trim() == value && redactor.search.marks[0] == "(the secret A)");
        for digits in [BASE64, BASE64_URL] {
            let text = [before.as_bytes(), value.as_bytes(), after.as_bytes()].concat();
            let (encoded, _) = base64(&text, digits);
            let masked = redactor.mask(&encoded);
            prop_assert!(masked.contains("(the secret A)"), "{}", masked);
            // What is left is what comes before and after, and the digits shared with these.
            let left = masked.replace("(the secret A)", "").len();
            let around = (before.len() + after.len()) * 8;
            prop_assert!(left * 6 <= around + 4 * 6 + 2 * 6, "{}", masked);
        }
    }
}

#[test]
fn spellings_of_common_tools_are_masked() {
    let value = "pa/s's \"w\\ö$+r&d=";
    let redactor = redactor(&[("PASSWORD", value)]);
    for (tool, spelling) in [
        ("raw", value),
        ("base64", "cGEvcydzICJ3XMO2JCtyJmQ9"),
        ("hex", "70612f7327732022775cc3b6242b7226643d"),
        ("HEX", "70612F7327732022775CC3B6242B7226643D"),
        ("quote", "pa/s%27s%20%22w%5C%C3%B6%24%2Br%26d%3D"),
        ("quote safe=''", "pa%2Fs%27s%20%22w%5C%C3%B6%24%2Br%26d%3D"),
        ("quote_plus", "pa%2Fs%27s+%22w%5C%C3%B6%24%2Br%26d%3D"),
        ("lower", "pa%2fs%27s%20%22w%5c%c3%b6%24%2br%26d%3d"),
        ("encodeURIComponent", "pa%2Fs's%20%22w%5C%C3%B6%24%2Br%26d%3D"),
        ("encodeURI", "pa/s's%20%22w%5C%C3%B6$+r&d="),
        ("JSON.stringify", r#"pa/s's \"w\\ö$+r&d="#),
        ("json.dumps", r#"pa/s's \"w\\\u00f6$+r&d="#),
        ("json_encode", r#"pa\/s's \"w\\\u00f6$+r&d="#),
        ("json.Marshal", r#"pa/s's \"w\\ö$+r\u0026d="#),
        ("System.Text.Json", r"pa/s\u0027s \u0022w\\\u00F6$\u002Br\u0026d="),
        ("JSON in JSON", r#"pa/s's \\\"w\\\\ö$+r&d="#),
        ("JSON of json.Marshal", r#"pa/s's \\\"w\\\\ö$+r\\u0026d="#),
        ("json.dumps twice", r#"pa/s's \\\"w\\\\\\u00f6$+r&d="#),
        ("JSON of json_encode", r#"pa\\/s's \\\"w\\\\\\u00f6$+r&d="#),
        ("SQL and YAML", r#"pa/s''s "w\ö$+r&d="#),
        ("CSV", r#"pa/s's ""w\ö$+r&d="#),
        ("html.escape", "pa/s&#x27;s &quot;w\\ö$+r&amp;d="),
        ("htmlspecialchars", "pa/s&#039;s &quot;w\\ö$+r&amp;d="),
        ("XML", "pa/s&apos;s &quot;w\\ö$+r&amp;d="),
        ("XML text", "pa/s's \"w\\ö$+r&amp;d="),
        ("HTML in JSON", "pa/s&#39;s &quot;w\\\\ö$+r&amp;d="),
        ("decimal", "pa&#47;s&#39;s&#32;&#34;w&#92;&#246;&#36;&#43;r&#38;d&#61;"),
        ("hexadecimal", "pa&#x2F;s&#x27;s&#x20;&#x22;w&#x5C;&#xF6;&#x24;&#x2B;r&#x26;d&#x3D;"),
        ("repr of bytes", r#"pa/s\'s "w\\\xc3\xb6$+r&d="#),
        ("quopri", r#"pa/s's "w\=C3=B6$+r&d=3D"#),
        ("hex with colons", "70:61:2f:73:27:73:20:22:77:5c:c3:b6:24:2b:72:26:64:3d"),
        ("xxd -g1", "70 61 2f 73 27 73 20 22 77 5c c3 b6 24 2b 72 26 64 3d"),
        ("base32", "OBQS64ZHOMQCE524YO3CIK3SEZSD2==="),
        ("set -x", r#"pa/s'\''s "w\ö$+r&d="#),
        ("shlex.quote", r#"pa/s'"'"'s "w\ö$+r&d="#),
        ("printf %q", r#"pa/s\'s\ \"w\\ö\$+r\&d="#),
        ("double quotes", r#"pa/s's \"w\\ö\$+r&d="#),
        ("quotemeta", r#"pa\/s\'s\ \"w\\ö\$\+r\&d\="#),
        ("$''", r#"pa/s\'s "w\\ö$+r&d="#),
        ("$'' in C", r#"pa/s\'s "w\\\303\266$+r&d="#),
    ] {
        assert_eq!(redactor.mask(&format!("<{spelling}>")), "<(the secret PASSWORD)>", "{tool}");
    }
}

#[test]
fn spellings_that_an_attack_found_are_masked() {
    for (value, spelled) in [
        ("pw\"with'both-99", "pw\\&quot;with&#x27;both-99"),
        ("pw\"with'both-99", "pw&quot;with&#x27;&#x27;both-99"),
        ("only'single-99", "only&#x27;&#x27;single-99"),
        ("has \"dq\" and 'sq'", "has \\\"dq\\\" and \\'sq\\'"),
        ("has \"dq\" and 'sq' +", "has \\\"dq\\\" and \\u0027sq\\u0027 +"),
        ("user=of'apos-99", "user\\u003dof\\u0027apos-99"),
        ("höflich-pw-99", "h&#246;flich-pw-99"),
        ("passwört-lang", "passw\\xF6rt-lang"),
        ("passwört-lang", "passw\\xf6rt-lang"),
        ("of/two/parts'99", "of&#x2F;two&#x2F;parts&#39;99"),
        ("it's \"all\" one", "it&apos;s &#34;all&#34; one"),
        ("of two words-99", "of=20two=20words-99"),
        ("of two words-99", "n5tca5dxn4qho33smrzs2ojz"),
    ] {
        let masked = redactor(&[("A", value)]).mask(&format!("<{spelled}>"));
        assert!(
            masked.contains('A') && !masked.contains(spelled),
            "{value} as {spelled}: {masked}"
        );
    }
}

#[test]
fn control_characters_are_escaped() {
    let redactor = redactor(&[("A", "a\tb\nc\u{1}d\u{1b}e\u{7f}")]);
    for spelling in
        ["a\\tb\\nc\\u0001d\\u001be\u{7f}", "a\\tb\\nc\\001d\\Ee\\177", "a%09b%0Ac%01d%1Be%7F"]
    {
        assert_eq!(redactor.mask(spelling), "(the secret A)");
    }
}

#[test]
fn base64_is_masked_with_its_padding() {
    let redactor = redactor(&[("TOKEN", "hunter22!")]);
    // user:hunter22! and user2:hunter22! and user22:hunter22!
    assert_eq!(redactor.mask("Basic dXNlcjpodW50ZXIyMiE= x"), "Basic dXNlcjp(the secret TOKEN) x");
    assert_eq!(redactor.mask("dXNlcjI6aHVudGVyMjIh"), "dXNlcjI6(the secret TOKEN)");
    assert_eq!(redactor.mask("dXNlcjIyOmh1bnRlcjIyIQ=="), "dXNlcjIyOm(the secret TOKEN)");
    assert_eq!(redactor.mask("dXNlcjIyOmh1bnRlcjIyIQ"), "dXNlcjIyOm(the secret TOKEN)");
}

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\
    \nBKcwggSjAgEAAoIBAQC7\nqA==\n-----END PRIVATE KEY-----\n";

#[test]
fn lines_of_a_value_are_masked_one_by_one() {
    for value in [PEM.to_owned(), PEM.trim().replace('\n', "\\n"), PEM.replace('\n', "\r\n")] {
        let redactor = redactor(&[("KEY", &value)]);
        assert_eq!(
            redactor.mask("  MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\r\nother"),
            "  (the secret KEY)\r\nother"
        );
        assert_eq!(redactor.mask("BKcwggSjAgEAAoIBAQC7"), "(the secret KEY)");
        let innocuous = "-----BEGIN PRIVATE KEY-----\nqA==\n-----END PRIVATE KEY-----\n";
        assert_eq!(redactor.mask(innocuous), innocuous);
    }
    let redactor = redactor(&[("KEY", PEM)]);
    assert_eq!(redactor.mask(PEM), "(the secret KEY)\n");
    let (encoded, _) = base64(PEM.as_bytes(), BASE64);
    let wrapped: Vec<&str> = [&encoded[..76], &encoded[76..]].into();
    assert_eq!(redactor.mask(wrapped[0]), "(the secret KEY)");
    let rest = redactor.mask(&wrapped.join("\n"));
    assert!(rest.starts_with("(the secret KEY)\n(the secret KEY)") && rest.len() < 50, "{rest}");
}

#[test]
fn rulers_and_short_lines_are_no_secrets() {
    let redactor = redactor(&[("A", "==========\n}\n  short\nwell-hidden\n==========")]);
    let text = "==========\n}\n  short\n";
    assert_eq!(redactor.mask(text), text);
    assert_eq!(redactor.mask("is well-hidden here"), "is (the secret A) here");
}

#[test]
fn short_values_are_masked_with_their_white_space() {
    assert_eq!(redactor(&[("A", "abcd")]).mask("<abcd>"), "<(the secret A)>");
    assert_eq!(redactor(&[("A", " abcdef ")]).mask("<abcdef>"), "<(the secret A)>");
    let redactor = redactor(&[("A", " abcd ")]);
    assert_eq!(redactor.mask("<abcd>"), "<abcd>");
    assert_eq!(redactor.mask("< abcd >"), "<(the secret A)>");
}

#[test]
fn a_line_that_only_begins_like_a_boundary_is_secret() {
    assert_eq!(redactor(&[("A", "first\n-----hidden")]).mask("<-----hidden>"), "<(the secret A)>");
}

#[test]
fn only_what_is_beyond_ascii_is_a_code_point() {
    assert_eq!(redactor(&[("A", "pa~w\u{f6}")]).mask(r"<pa~w\u00f6>"), "<(the secret A)>");
    assert_eq!(
        redactor(&[("A", "\u{f6}\u{e4}\u{fc}")]).mask(r"<\u00f6\u00e4\u00fc>"),
        "<(the secret A)>"
    );
}

#[test]
fn brackets_in_a_value_take_nothing_from_its_mark() {
    assert_eq!(
        redactor(&[("A", "ab)cdef"), ("B", "ab(cdef"), ("C", "ab(c)def")]).mask("ab)cdef"),
        "(the secret A)"
    );
}

#[test]
fn blocks_are_spread_over_the_table() {
    let slots: std::collections::BTreeSet<usize> =
        (0..1000_u32).map(|block| slot(block.to_le_bytes(), 16)).collect();
    assert!(slots.len() > 900, "{}", slots.len());
}

#[test]
fn overlapping_occurrences_are_masked_as_one() {
    assert_eq!(redactor(&[("A", "abcabc")]).mask("<abcabcabc>"), "<(the secret A)>");
    assert_eq!(redactor(&[("A", "abcabc")]).mask("<abcabcabcabc>"), "<(the secret A)>");
    assert_eq!(
        redactor(&[("A", "abcdef")]).mask("<abcdefabcdef>"),
        "<(the secret A)(the secret A)>"
    );
    assert_eq!(
        redactor(&[("A", "abcdef"), ("B", "defghi")]).mask("<abcdefghi>"),
        "<(the secret A)>"
    );
    assert_eq!(
        redactor(&[("INNER", "cdefgh"), ("OUTER", "abcdefghij")]).mask("<abcdefghij> cdefgh"),
        "<(the secret OUTER)> (the secret INNER)"
    );
    assert_eq!(
        redactor(&[("FIRST", "abcdef"), ("SECOND", "abcdef")]).mask("abcdef"),
        "(the secret FIRST)"
    );
}

#[test]
fn marks_make_no_needles() {
    assert_eq!(redactor(&[("A", "secret")]).mask("a secret!"), "a ***!");
    assert_eq!(redactor(&[("A", "A)(the")]).mask("A)(the"), "***");
    assert_eq!(
        redactor(&[("API_KEY", "API_KEY"), ("B", "abcdef")]).mask("API_KEY abcdef"),
        "*** (the secret B)"
    );
    assert_eq!(redactor(&[("A", "secret"), ("B", "*secure*")]).mask("a secret!"), "a \u{2588}!");
    assert_eq!(
        redactor(&[("A", "secret"), ("B", "*\u{2588}\u{2589}\u{2588}")]).mask("a secret!"),
        "a \u{258a}!"
    );
}

#[test]
fn only_beginnings_of_needles_are_held() {
    let mut redactor = redactor(&[("A", "hunter22")]);
    assert_eq!(pushed(&mut redactor, b"Password? "), "Password? ");
    assert_eq!(pushed(&mut redactor, b"oh, hunt"), "oh, ");
    assert_eq!(pushed(&mut redactor, b"ing "), "hunting ");
    assert_eq!(pushed(&mut redactor, b"hunter2"), "");
    assert_eq!(pushed(&mut redactor, b"2"), "(the secret A)");
    assert_eq!(pushed(&mut redactor, b"hunter2"), "");
    assert_eq!(finished(&mut redactor), "hunter2");
    assert_eq!(pushed(&mut redactor, b"2 hunter22 "), "2 (the secret A) ");
}

#[test]
fn odd_values_do_no_harm() {
    for value in ["", "a", "ab\n", "      ", "\n\n\n\n\n\n"] {
        assert_eq!(redactor(&[("A", value)]).mask("a b ab abc"), "a b ab abc");
    }
    assert_eq!(redactor(&[]).mask("anything"), "anything");
    assert_eq!(redactor(&[("A", "  hunter22\n")]).mask("\n  hunter22\n"), "\n  (the secret A)\n");
    let mut redactor = redactor(&[("A", "hunter22")]);
    let mut out = Vec::new();
    redactor.push(b"\xff\xfehunter22\xc3", &mut out);
    assert_eq!(out, b"\xff\xfe(the secret A)\xc3");
}

#[test]
fn secrets_are_not_in_the_debug_output() {
    let mut redactor = redactor(&[("A", "hunter22")]);
    pushed(&mut redactor, b"hunter2");
    assert_eq!(format!("{redactor:?}"), "Redactor { .. }");
}
