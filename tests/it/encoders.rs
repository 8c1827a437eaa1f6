//! What real encoders make of secrets is masked, however it is cut: those of Python's standard
//! library.

use std::io::Write;
use std::process::{Command, Stdio};

use switchover::effect::Redactor;

/// One line for each spelling of each secret: number of the secret, name of the encoder, and the
/// text in hexadecimal digits.
const ENCODE: &str = r#"
import base64, html, json, quopri, sys, urllib.parse
def dumped(text, **how): return json.dumps(text, **how)[1:-1]
for number, secret in enumerate(json.load(sys.stdin)):
    raw = secret.encode()
    for name, text in {
        "json": dumped(secret), "json-utf8": dumped(secret, ensure_ascii=False), "json-json": dumped(dumped(secret)),
        "html": html.escape(secret), "html-text": html.escape(secret, quote=False),
        "url": urllib.parse.quote(secret), "url-all": urllib.parse.quote(secret, safe=""), "form": urllib.parse.quote_plus(secret),
        "base64": base64.b64encode(raw), "base64-url": base64.urlsafe_b64encode(raw), "base64-in": base64.b64encode(b"user:" + raw),
        "base32": base64.b32encode(raw), "hex": raw.hex(), "hex-colons": raw.hex(":"), "bytes": repr(raw)[2:-1],
        "quoted-printable": quopri.encodestring(raw), "sql": secret.replace("'", "''"), "csv": secret.replace('"', '""'),
    }.items():
        text = text if isinstance(text, bytes) else text.encode()
        # Soft line breaks are not recognised, as docs/security.md says.
        if b"=\n" not in text: print(number, name, text.hex())
"#;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % bound as u64).expect("below the bound")
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "with --show-output, it says what was tried")]
fn what_real_encoders_make_of_a_secret_is_masked() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    let mut random = Random(seed);
    let letters: Vec<char> = "abcXYZ0189'\"\\/&<>=+%$;:,. ~-_@!?#éß漢🔑".chars().collect();
    let secrets: Vec<String> = (0..200)
        .map(|_| {
            let middle = (0..6 + random.below(8)).map(|_| letters[random.below(letters.len())]);
            ['k'].into_iter().chain(middle).chain(['z']).collect()
        })
        .collect();
    let mut python = Command::new("python3");
    let mut python = python
        .args(["-c", ENCODE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    python.stdin.take().unwrap().write_all(&serde_json::to_vec(&secrets).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let (mut tried, mut missed) = (0, Vec::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split(' ');
        let secret = &secrets[words.next().unwrap().parse::<usize>().unwrap()];
        let name = words.next().unwrap();
        let digits = words.next().unwrap().as_bytes();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let encoded: Vec<u8> = digits.chunks(2).map(byte).collect();
        let text = [b"before <".as_slice(), &encoded, b"> behind"].concat();
        let (mut redactor, mut masked) =
            (Redactor::new(&[("t".to_owned(), secret.clone())]), Vec::new());
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let (write, behind) = rest.split_at(1 + random.below(rest.len()));
            redactor.push(write, &mut masked);
            rest = behind;
        }
        redactor.finish(&mut masked);
        tried += 1;
        let shown = String::from_utf8_lossy(&masked);
        // Base64 of a longer text keeps what belongs to what stands before; all keep their padding.
        let around = "before <> behind".len() + "(the secret t)".len();
        if !shown.contains("(the secret t)") || masked.len() > around + 12 {
            missed.push(format!(
                "{name} of {secret:?}: {} became {shown}",
                String::from_utf8_lossy(&encoded)
            ));
        }
    }
    println!("{tried} spellings tried");
    assert!(tried > 200 * 15, "{tried}");
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}
