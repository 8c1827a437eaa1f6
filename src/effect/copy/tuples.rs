//! The binary form of PostgreSQL's COPY: rows in a stream that comes in pieces. Knows no types.

/// What the stream begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Rows that come in pieces.
#[derive(Debug, Default)]
pub struct Tuples {
    /// The beginning of what is not yet whole.
    rest: Vec<u8>,
    has_begun: bool,
    is_over: bool,
}

impl Tuples {
    /// Takes the next piece, and calls `each` with every row that is whole.
    ///
    /// # Errors
    /// If it is not the binary form, or as `each` says.
    pub fn feed<E: From<Torn>>(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = std::mem::take(&mut self.rest);
        let mut bytes = piece;
        if !rest.is_empty() {
            rest.extend_from_slice(piece);
            bytes = &rest;
        }
        if !self.has_begun {
            let Some(length) = header(bytes)? else {
                self.rest = bytes.to_vec();
                return Ok(());
            };
            self.has_begun = true;
            bytes = &bytes[length..];
        }
        while !self.is_over && !bytes.is_empty() {
            match whole(bytes)? {
                Next::Row(length) => {
                    each(&bytes[..length])?;
                    bytes = &bytes[length..];
                }
                Next::End => self.is_over = true,
                Next::Later => break,
            }
        }
        if !self.is_over {
            self.rest = bytes.to_vec();
        }
        Ok(())
    }

    /// Whether the end of the stream has come.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

/// The values of a row, without one for NULL.
pub fn fields(row: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = row.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (field, behind) = behind.split_at_checked(length.unwrap_or_default())?;
        rest = behind;
        Some(length.map(|_| field))
    })
}

/// The stream is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("what the server sends is not the binary form of COPY")]
pub struct Torn;

enum Next {
    Row(usize),
    End,
    Later,
}

/// How long the header is, once it is there.
fn header(bytes: &[u8]) -> Result<Option<usize>, Torn> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(Torn);
    }
    let Some(length) = bytes.get(15..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
    let whole = 19 + u32::from_be_bytes(*length) as usize;
    Ok((bytes.len() >= whole).then_some(whole))
}

/// How long the first row is, if it is whole.
fn whole(bytes: &[u8]) -> Result<Next, Torn> {
    let Some(count) = bytes.first_chunk::<2>() else { return Ok(Next::Later) };
    let count = i16::from_be_bytes(*count);
    if count == -1 {
        return Ok(Next::End);
    }
    let mut at = 2usize;
    for _ in 0..u16::try_from(count).map_err(|_| Torn)? {
        let Some(length) = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>) else {
            return Ok(Next::Later);
        };
        at += 4 + usize::try_from(i32::from_be_bytes(*length).max(0)).map_err(|_| Torn)?;
    }
    Ok(if at <= bytes.len() { Next::Row(at) } else { Next::Later })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 2, 9, 9]);
        for (first, second) in [(Some("a"), None), (None, Some("bcd")), (Some(""), Some("e"))] {
            bytes.extend(2i16.to_be_bytes());
            for field in [first, second] {
                bytes.extend(field.map_or(-1, |text: &str| text.len() as i32).to_be_bytes());
                bytes.extend(field.unwrap_or_default().bytes());
            }
        }
        bytes.extend((-1i16).to_be_bytes());
        bytes
    }

    #[test]
    fn rows_are_the_same_however_they_come() {
        for size in 1..stream().len() {
            let (mut tuples, mut rows) = (Tuples::default(), Vec::new());
            for piece in stream().chunks(size) {
                let each = |row: &[u8]| {
                    rows.push(
                        fields(row)
                            .map(|field| {
                                field.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                            })
                            .collect::<Vec<_>>(),
                    );
                    Ok::<(), Torn>(())
                };
                assert!(tuples.feed(piece, each).is_ok(), "{size}");
            }
            let some = |text: &str| Some(text.to_owned());
            assert_eq!(
                rows,
                [vec![some("a"), None], vec![None, some("bcd")], vec![some(""), some("e")]],
                "{size}"
            );
            assert!(tuples.is_over());
        }
    }

    #[test]
    fn another_stream_is_refused() {
        assert!(Tuples::default().feed(b"1\t2\n", |_| Ok::<(), Torn>(())).is_err());
    }
}
