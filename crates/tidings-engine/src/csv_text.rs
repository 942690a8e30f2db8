//! Tables as comma-separated values, for spreadsheets.

/// A header and lines of as many fields each.
pub(crate) fn written(header: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail, and every line has as many fields as the header.
    let mut kept = writer.write_record(header).is_ok();
    for line in lines {
        kept &= writer
            .write_record(line.iter().map(|field| harmless(field)))
            .is_ok();
    }
    debug_assert!(kept, "every line has as many fields as the header");
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A field that a spreadsheet would take for a formula is marked as text (OWASP, CSV injection).
fn harmless(field: &str) -> String {
    if field.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{field}")
    } else {
        field.to_owned()
    }
}
