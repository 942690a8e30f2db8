//! Text parts: derived from HTML when a template is compiled, tidied when it is rendered.

/// Tidies rendered text: no trailing spaces, at most one empty line in a row, none at either end.
pub(crate) fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        // The signature mark of RFC 3676 section 4.3 is the one line whose trailing space means something.
        let line = if line == "-- " { line } else { line.trim_end() };
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        out.push_str(line);
    }
    out
}
