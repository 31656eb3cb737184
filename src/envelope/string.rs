//! Finds the end of a JSON string. Most strings are short, ASCII and without escapes: `closing_quote` finds the end of such
//! a string in one block. `long_string` takes all others, block by block. `scan` calls this module for each string.

use super::block::{BLOCK, Block};
use super::error::ReadError::{self, NotJson, NotUtf8};

/// The offset of the closing quote of the string whose first character is at `start`, behind the opening quote. Sets
/// `escaped` if the string contains escapes. Checks that the string is UTF-8, that it has no control characters, and that
/// its escapes are well formed.
#[inline(always)]
pub(super) fn closing_quote(bytes: &[u8], start: usize, escaped: &mut bool) -> Result<usize, ReadError> {
    *escaped = false;
    if let Some(block) = block_at(bytes, start)
        && let Some(place) = quote_behind_plain(block, 0)
    {
        return Ok(start + place);
    }
    let (quote, has_escapes) = long_string(bytes, start)?;
    *escaped = has_escapes;
    Ok(quote)
}

/// The place of the first quote in a block without its first `known` bytes, if only plain text is before it.
#[inline(always)]
fn quote_behind_plain(block: &[u8; BLOCK], known: usize) -> Option<usize> {
    let block = Block::load(block);
    let (quotes, others) = (block.equal(b'"') >> known, block.backslash_control_wide() >> known);
    let up_to_quote = quotes ^ quotes.wrapping_sub(1);
    (quotes != 0 && others & up_to_quote == 0).then_some(quotes.trailing_zeros() as usize)
}

/// As [`quote_behind_plain`], in the last bytes of the message, from `at` on.
#[inline(always)]
fn quote_in_last_block(bytes: &[u8], at: usize) -> Option<usize> {
    let known = (at + BLOCK).checked_sub(bytes.len())?;
    quote_behind_plain(bytes.last_chunk()?, known).map(|place| at + place)
}

/// The closing quote of any string, and whether the string contains escapes.
#[inline(never)]
fn long_string(bytes: &[u8], start: usize) -> Result<(usize, bool), ReadError> {
    if let Some(quote) = quote_in_last_block(bytes, start) {
        return Ok((quote, false));
    }
    let (mut at, mut escaped, mut wide) = (start, false, false);
    loop {
        at = skip_plain(bytes, at, &mut escaped);
        match bytes.get(at).ok_or(NotJson)? {
            b'"' => break,
            b'\\' => {
                at = behind_escape(bytes, at)?;
                escaped = true;
            }
            0x80.. => {
                at = skip_wide(bytes, at);
                wide = true;
            }
            // One of the last fifteen bytes.
            0x20.. => at = quote_in_last_block(bytes, at).unwrap_or(at + 1),
            _ => return Err(NotJson),
        }
    }
    if wide && std::str::from_utf8(bytes.get(start..at).unwrap_or_default()).is_err() {
        return Err(NotUtf8);
    }
    Ok((at, escaped))
}

/// Skips plain text, and with it the two escapes of which an SDP has many: `\r` and `\n`. Ends at a quote, another
/// escape, a control character, a character that is not ASCII, or a byte of the last sixteen.
///
/// Each step is the same for every such block, and the next block does not depend on the contents of this one. So the
/// processor works on several blocks at once and mispredicts nothing.
#[inline(always)]
fn skip_plain(bytes: &[u8], mut at: usize, escaped: &mut bool) -> usize {
    // 1 if the last byte of the previous block was a backslash: the first byte of this one is its letter.
    let mut open = 0;
    let mut backslashes_seen = 0;
    while let Some(block) = block_at(bytes, at) {
        let block = Block::load(block);
        let (stops, backslashes) = (block.equal(b'"') | block.backslash_control_wide(), block.equal(b'\\'));
        let (expected, letters) = (backslashes << 1 | open, block.either(b'r', b'n'));
        if (stops ^ backslashes) | (expected & !letters & 0xffff) != 0 {
            if open == 0 {
                at += stops.trailing_zeros() as usize;
            }
            break;
        }
        backslashes_seen |= backslashes;
        open = backslashes >> (BLOCK - 1);
        at += BLOCK;
    }
    *escaped |= backslashes_seen != 0;
    at - open as usize
}

/// Skips up to the next quote, backslash or control character, over characters of all lengths.
fn skip_wide(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = block_at(bytes, at) {
        let block = Block::load(block);
        let stops = block.equal(b'"') | block.backslash_control();
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| !matches!(byte, 0..0x20 | b'"' | b'\\')).count()
}

/// The offset behind the escape whose backslash is at `at`.
#[inline(always)]
fn behind_escape(bytes: &[u8], at: usize) -> Result<usize, ReadError> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let digits = bytes.get(at + 2..at + 6).ok_or(NotJson)?;
            if digits.iter().all(u8::is_ascii_hexdigit) { Ok(at + 6) } else { Err(NotJson) }
        }
        _ => Err(NotJson),
    }
}

/// Whether a text can stand in a JSON string as it is. May say no to a text that could.
#[inline(always)]
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) else {
        return bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    };
    let is_plain = |block: &[u8; BLOCK]| {
        let block = Block::load(block);
        block.equal(b'"') | block.backslash_control_wide() == 0
    };
    let Some(last_block) = bytes.last_chunk() else {
        let both = u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << 64;
        return is_plain(&both.to_le_bytes());
    };
    bytes.as_chunks().0.iter().all(is_plain) && is_plain(last_block)
}

#[inline(always)]
fn block_at(bytes: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    bytes.get(at..at + BLOCK)?.first_chunk()
}
