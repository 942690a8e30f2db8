//! Numbers in words, and the words around figures. All in lower case.

/// Words for numbers from two on; "one" is an article in most languages.
pub(in super::super) const NUMBER_WORDS: &[(&str, &[(&str, u64)])] = &[
    (
        "en",
        &[
            ("two", 2),
            ("three", 3),
            ("four", 4),
            ("five", 5),
            ("six", 6),
            ("seven", 7),
            ("eight", 8),
            ("nine", 9),
            ("ten", 10),
            ("eleven", 11),
            ("twelve", 12),
            ("thirteen", 13),
            ("fourteen", 14),
            ("fifteen", 15),
            ("sixteen", 16),
            ("seventeen", 17),
            ("eighteen", 18),
            ("nineteen", 19),
            ("twenty", 20),
            ("thirty", 30),
            ("forty", 40),
            ("fifty", 50),
            ("sixty", 60),
            ("seventy", 70),
            ("eighty", 80),
            ("ninety", 90),
            ("hundred", 100),
            ("thousand", 1000),
            ("million", 1_000_000),
            ("dozen", 12),
        ],
    ),
    (
        "de",
        &[
            ("zwei", 2),
            ("drei", 3),
            ("vier", 4),
            ("fünf", 5),
            ("sechs", 6),
            ("sieben", 7),
            ("acht", 8),
            ("neun", 9),
            ("zehn", 10),
            ("elf", 11),
            ("zwölf", 12),
            ("fünfzehn", 15),
            ("zwanzig", 20),
            ("fünfundzwanzig", 25),
            ("dreißig", 30),
            ("vierzig", 40),
            ("fünfzig", 50),
            ("hundert", 100),
            ("tausend", 1000),
        ],
    ),
    (
        "fr",
        &[
            ("deux", 2),
            ("trois", 3),
            ("quatre", 4),
            ("cinq", 5),
            ("six", 6),
            ("sept", 7),
            ("huit", 8),
            ("neuf", 9),
            ("dix", 10),
            ("onze", 11),
            ("douze", 12),
            ("quinze", 15),
            ("vingt", 20),
            ("trente", 30),
            ("quarante", 40),
            ("cinquante", 50),
            ("cent", 100),
            ("mille", 1000),
        ],
    ),
    (
        "es",
        &[
            ("dos", 2),
            ("tres", 3),
            ("cuatro", 4),
            ("cinco", 5),
            ("seis", 6),
            ("siete", 7),
            ("ocho", 8),
            ("nueve", 9),
            ("diez", 10),
            ("once", 11),
            ("doce", 12),
            ("quince", 15),
            ("veinte", 20),
            ("treinta", 30),
            ("cuarenta", 40),
            ("cincuenta", 50),
            ("cien", 100),
            ("mil", 1000),
        ],
    ),
    (
        "it",
        &[
            ("due", 2),
            ("tre", 3),
            ("quattro", 4),
            ("cinque", 5),
            ("sei", 6),
            ("sette", 7),
            ("otto", 8),
            ("nove", 9),
            ("dieci", 10),
            ("undici", 11),
            ("dodici", 12),
            ("quindici", 15),
            ("venti", 20),
            ("trenta", 30),
            ("cinquanta", 50),
            ("cento", 100),
            ("mille", 1000),
        ],
    ),
    (
        "nl",
        &[
            ("twee", 2),
            ("drie", 3),
            ("vier", 4),
            ("vijf", 5),
            ("zes", 6),
            ("zeven", 7),
            ("acht", 8),
            ("negen", 9),
            ("tien", 10),
            ("elf", 11),
            ("twaalf", 12),
            ("vijftien", 15),
            ("twintig", 20),
            ("dertig", 30),
            ("vijftig", 50),
            ("honderd", 100),
            ("duizend", 1000),
        ],
    ),
    (
        "pt",
        &[
            ("dois", 2),
            ("duas", 2),
            ("três", 3),
            ("quatro", 4),
            ("cinco", 5),
            ("seis", 6),
            ("sete", 7),
            ("oito", 8),
            ("nove", 9),
            ("dez", 10),
            ("onze", 11),
            ("doze", 12),
            ("quinze", 15),
            ("vinte", 20),
            ("trinta", 30),
            ("cinquenta", 50),
            ("cem", 100),
            ("mil", 1000),
        ],
    ),
];

/// Days of a month in English words; the last word of "twenty-first" counts from twenty.
pub(in super::super) const ORDINALS: &[(&str, i8)] = &[
    ("first", 1),
    ("second", 2),
    ("third", 3),
    ("fourth", 4),
    ("fifth", 5),
    ("sixth", 6),
    ("seventh", 7),
    ("eighth", 8),
    ("ninth", 9),
    ("tenth", 10),
    ("eleventh", 11),
    ("twelfth", 12),
    ("thirteenth", 13),
    ("fourteenth", 14),
    ("fifteenth", 15),
    ("sixteenth", 16),
    ("seventeenth", 17),
    ("eighteenth", 18),
    ("nineteenth", 19),
    ("twentieth", 20),
    ("thirtieth", 30),
];

/// Percent in one word.
pub(in super::super) fn is_percent_word(word: &str) -> bool {
    matches!(
        word,
        "percent"
            | "percents"
            | "percentage"
            | "pct"
            | "procent"
            | "proc"
            | "prosent"
            | "prosenttia"
            | "yüzde"
    ) || [
        "prozent",
        "procent",
        "процент",
        "パーセント",
        "퍼센트",
        "percentu",
    ]
    .iter()
    .any(|start| word.starts_with(start))
}

/// Stands behind a figure taken off a price.
pub(in super::super) fn is_discount_word(word: &str) -> bool {
    matches!(
        word,
        "off"
            | "discount"
            | "rebate"
            | "rabatt"
            | "nachlass"
            | "remise"
            | "réduction"
            | "descuento"
            | "rebaja"
            | "sconto"
            | "korting"
            | "desconto"
            | "rabat"
            | "скидка"
            | "скидки"
            | "cashback"
    )
}

/// Stands before a figure taken off a price.
pub(in super::super) fn is_saving_word(word: &str) -> bool {
    is_discount_word(word)
        || matches!(
            word,
            "save"
                | "saving"
                | "savings"
                | "saves"
                | "sparen"
                | "spare"
                | "économisez"
                | "ahorre"
                | "ahorra"
                | "risparmia"
                | "risparmi"
                | "bespaar"
                | "economize"
                | "poupe"
        )
}

/// Letters that may touch the digits of a plain number: ordinals and measures.
pub(in super::super) fn is_unit(letters: &str) -> bool {
    matches!(
        letters.to_lowercase().as_str(),
        "st" | "nd"
            | "rd"
            | "th"
            | "er"
            | "ère"
            | "e"
            | "ème"
            | "º"
            | "ª"
            | "h"
            | "hr"
            | "hrs"
            | "min"
            | "mins"
            | "s"
            | "d"
            | "y"
            | "yr"
            | "yrs"
            | "mo"
            | "wk"
            | "km"
            | "mi"
            | "cm"
            | "mm"
            | "ft"
            | "in"
            | "kg"
            | "g"
            | "lb"
            | "lbs"
            | "oz"
            | "l"
            | "ml"
            | "gal"
            | "w"
            | "kw"
            | "kwh"
            | "v"
            | "ah"
            | "hp"
            | "ps"
            | "cc"
            | "rpm"
            | "x"
            | "cv"
    )
}

/// Words that say nothing about the number beside them.
pub(in super::super) fn is_little(word: &str) -> bool {
    matches!(
        word,
        "every"
            | "each"
            | "the"
            | "a"
            | "an"
            | "of"
            | "for"
            | "in"
            | "at"
            | "to"
            | "on"
            | "by"
            | "is"
            | "are"
            | "was"
            | "and"
            | "or"
            | "with"
            | "within"
            | "after"
            | "before"
            | "about"
            | "your"
            | "our"
            | "has"
            | "have"
            | "had"
            | "it"
            | "we"
            | "you"
            | "from"
            | "until"
            | "over"
            | "than"
            | "only"
            | "just"
            | "all"
            | "der"
            | "die"
            | "das"
            | "und"
            | "von"
            | "bis"
            | "nach"
            | "alle"
            | "ist"
            | "le"
            | "la"
            | "les"
            | "de"
            | "et"
            | "el"
            | "y"
            | "il"
            | "e"
            | "het"
            | "en"
            | "o"
            | "os"
    )
}

/// Zeros that a word adds to the figure before it.
pub(in super::super) fn scale(word: &str) -> Option<usize> {
    Some(match word.to_lowercase().as_str() {
        "hundred" => 2,
        "k" | "thousand" | "tausend" | "tsd" | "mille" | "mil" | "mila" | "duizend" | "тыс" | "тысяч" => {
            3
        }
        "m" | "mn" | "mio" | "million" | "millions" | "millionen" | "millón" | "millones" | "milioni"
        | "miljoen" | "млн" => 6,
        "bn" | "billion" | "billions" | "mrd" | "milliarden" => 9,
        _ => return None,
    })
}

/// Spans of time and distance, which a message must not make up.
pub(in super::super) fn is_span(word: &str) -> bool {
    matches!(
        word,
        "minute"
            | "minutes"
            | "hour"
            | "hours"
            | "day"
            | "days"
            | "week"
            | "weeks"
            | "month"
            | "months"
            | "year"
            | "years"
            | "mile"
            | "miles"
            | "kilometers"
            | "kilometres"
            | "minuten"
            | "stunden"
            | "tage"
            | "tagen"
            | "wochen"
            | "monate"
            | "monaten"
            | "jahre"
            | "jahren"
            | "kilometer"
            | "heures"
            | "jours"
            | "semaines"
            | "mois"
            | "ans"
            | "années"
            | "horas"
            | "días"
            | "semanas"
            | "meses"
            | "años"
            | "minutos"
            | "ore"
            | "giorni"
            | "settimane"
            | "mesi"
            | "anni"
            | "minuti"
            | "uur"
            | "uren"
            | "dagen"
            | "weken"
            | "maanden"
            | "jaar"
            | "dias"
            | "anos"
    )
}
