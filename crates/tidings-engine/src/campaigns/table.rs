//! Coverage as comma-separated values, for spreadsheets.

use crate::csv_text::written;
use tidings_store::campaigns::{Coverage, RowOutcome, RowTold};

/// Runs, one a line, with a column an outcome.
pub fn coverage_csv(coverage: &[Coverage]) -> String {
    let mut header = vec!["run_id", "campaign", "as_of", "state", "scanned", "due"];
    header.extend(RowOutcome::ALL.iter().map(|outcome| outcome.as_str()));
    header.extend(["balanced", "last_error"]);
    let lines = coverage.iter().map(|told| {
        let run = &told.run;
        let mut fields = vec![
            run.id.to_string(),
            run.campaign.to_string(),
            run.as_of.to_string(),
            run.state.to_string(),
            run.scanned.to_string(),
            run.due.to_string(),
        ];
        let counts = RowOutcome::ALL.iter().map(|outcome| told.outcomes.get(outcome));
        fields.extend(counts.map(|count| count.copied().unwrap_or(0).to_string()));
        fields.push(told.balanced.to_string());
        fields.push(run.last_error.clone().unwrap_or_default());
        fields
    });
    written(&header, lines)
}

/// Due rows, one a line.
pub fn rows_csv(rows: &[RowTold]) -> String {
    let header = [
        "key",
        "occurrence",
        "outcome",
        "code",
        "detail",
        "contact_id",
        "message_id",
        "at",
    ];
    let lines = rows.iter().map(|row| {
        vec![
            row.key.clone(),
            row.occurrence.clone(),
            row.outcome.to_string(),
            row.code.clone().unwrap_or_default(),
            row.detail.clone().unwrap_or_default(),
            row.contact_id.map(|id| id.to_string()).unwrap_or_default(),
            row.message_id.map(|id| id.to_string()).unwrap_or_default(),
            row.at.to_string(),
        ]
    });
    written(&header, lines)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_cannot_become_formulas_or_break_lines() {
        let row = RowTold {
            key: "=1+1".to_owned(),
            occurrence: "a,\"b\"\nc".to_owned(),
            outcome: RowOutcome::Malformed,
            code: None,
            detail: None,
            contact_id: None,
            message_id: None,
            at: "2026-06-16T15:00:00Z".parse().unwrap(),
        };
        assert_eq!(
            rows_csv(&[row]),
            "key,occurrence,outcome,code,detail,contact_id,message_id,at\n'=1+1,\"a,\"\"b\"\"\nc\",malformed,,,,,2026-06-16T15:00:00Z\n"
        );
    }
}
