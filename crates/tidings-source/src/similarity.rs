//! Which of some names was probably meant.

/// Names longer than this are compared by their beginnings.
const LONGEST: usize = 64;

/// At most so many of `names` that resemble `wanted`, the most alike first.
pub(crate) fn closest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
    at_most: usize,
) -> Vec<String> {
    let mut scored: Vec<(u32, &str)> = names
        .into_iter()
        .map(|name| (likeness(wanted, name), name))
        .filter(|(score, _)| *score >= 50)
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup();
    scored
        .into_iter()
        .take(at_most)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// `; did you mean a or b?`, or nothing.
pub(crate) fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// 0 to 100: how alike two names are, without regard to case, separators and a plural.
pub(crate) fn likeness(a: &str, b: &str) -> u32 {
    let (a, b) = (plain(a), plain(b));
    if a.is_empty() || b.is_empty() {
        return 0;
    }
    if a == b {
        return 100;
    }
    let longer = a.len().max(b.len());
    let shorter = a.len().min(b.len());
    let edits = distance(&a, &b);
    let by_edits = 100 - (100 * edits.min(longer) / longer) as u32;
    // One within the other counts by how much of it that is, from three letters on.
    let within = shorter >= 3 && (contains(&a, &b) || contains(&b, &a));
    let by_part = if within {
        (55 + 40 * shorter / longer) as u32
    } else {
        0
    };
    by_edits.max(by_part).min(99)
}

fn contains(long: &[char], short: &[char]) -> bool {
    long.windows(short.len()).any(|window| window == short)
}

fn plain(name: &str) -> Vec<char> {
    let mut letters: Vec<char> = name
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .take(LONGEST)
        .collect();
    if letters.len() > 3 && letters.ends_with(&['s']) {
        letters.pop();
    }
    letters
}

/// How many letters must be put in, taken out or changed.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_comes_first() {
        let names = ["KUNDEN", "KUNDE_ARCHIV", "RECHNUNGEN", "customers_old"];
        assert_eq!(closest("kunde", names, 2), ["KUNDEN", "KUNDE_ARCHIV"]);
        assert_eq!(closest("Customer", ["customers", "orders"], 3), ["customers"]);
        assert!(closest("appointments", ["x", "rechnungen"], 3).is_empty());
    }

    #[test]
    fn likeness_ignores_case_separators_and_plurals() {
        assert_eq!(likeness("WorkOrders", "work_order"), 100);
        assert!(likeness("emial", "email") >= 50);
        assert!(likeness("email", "phone") < 50);
    }
}
