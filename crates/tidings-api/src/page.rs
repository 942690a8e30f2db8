//! Pages of lists: an opaque cursor, a bounded limit, newest or oldest first as the list says.

use crate::problem::{Answer, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The most rows of a page.
pub const LIMIT_MAX: u32 = 200;

/// Rows of a page when the request names no limit.
pub const LIMIT_DEFAULT: u32 = 50;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Send it back as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of rows, and where the next one begins.
    pub fn of<C: Position>(items: Vec<T>, next: Option<C>) -> Self {
        Self {
            items,
            next_cursor: next.map(|position| URL_SAFE_NO_PAD.encode(position.bytes())),
        }
    }

    /// The same page of what each row becomes.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

/// Where a page starts and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<C> {
    /// The last row of the page before.
    pub after: Option<C>,
    /// At most so many rows.
    pub limit: u32,
}

/// What a cursor points at.
pub trait Position: Sized {
    /// As the cursor's bytes.
    fn bytes(self) -> Vec<u8>;
    /// From the cursor's bytes.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Position for Uuid {
    fn bytes(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl Position for String {
    fn bytes(self) -> Vec<u8> {
        self.into_bytes()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let text = Self::from_utf8(bytes.to_vec()).ok()?;
        (!text.is_empty() && !text.contains('\0')).then_some(text)
    }
}

impl Position for i64 {
    fn bytes(self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

/// Reads `limit` and `cursor` of a query.
pub fn bounds<C: Position>(limit: Option<u32>, cursor: Option<&str>) -> Answer<Bounds<C>> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::invalid_field(
            "#query/limit",
            "value.invalid",
            format!("a number from 1 to {LIMIT_MAX}"),
        ));
    }
    let after = cursor.map(read).transpose()?;
    Ok(Bounds { after, limit })
}

fn read<C: Position>(cursor: &str) -> Answer<C> {
    let bytes = if cursor.len() > 128 {
        None
    } else {
        URL_SAFE_NO_PAD.decode(cursor).ok()
    };
    bytes.and_then(|bytes| C::read(&bytes)).ok_or_else(|| {
        let detail = "send the next_cursor of an earlier answer of this list, unchanged";
        Problem::invalid_field("#query/cursor", "value.invalid", detail)
    })
}

/// Makes a page of rows that were asked for with one more than the limit, to see whether more follow.
pub fn page<T, C: Position>(mut rows: Vec<T>, limit: u32, position: impl Fn(&T) -> C) -> Page<T> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows
        .last()
        .filter(|_| more)
        .map(|row| URL_SAFE_NO_PAD.encode(position(row).bytes()));
    Page {
        items: rows,
        next_cursor,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_cursor_points_behind_the_last_row() {
        let page = page(vec![3_i64, 2, 1], 2, |row| *row);
        assert_eq!(page.items, [3, 2]);
        let bounds = bounds::<i64>(Some(2), page.next_cursor.as_deref()).unwrap();
        assert_eq!(bounds.after, Some(2));
        assert!(super::page(vec![1_i64], 2, |row| *row).next_cursor.is_none());
    }

    #[test]
    fn wrong_limits_and_cursors_are_refused() {
        for limit in [0, 201] {
            assert_eq!(
                bounds::<i64>(Some(limit), None).unwrap_err().errors[0].pointer,
                "#query/limit"
            );
        }
        for cursor in ["", "!!", "AAAA", &"A".repeat(200)] {
            assert_eq!(
                bounds::<Uuid>(None, Some(cursor)).unwrap_err().errors[0].pointer,
                "#query/cursor"
            );
        }
    }
}
