//! How languages write numbers and dates. Languages without an entry are written as English.

/// Where groups of digits end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// 1,234,567
    Thousands,
    /// 12,34,567
    Indian,
}

/// Where the sign of a currency stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SymbolPlace {
    Before,
    After,
}

/// The order of a date's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateOrder {
    /// June 12, 2027
    MonthFirst,
    /// 12 June 2027
    DayFirst,
    /// 12. Juni 2027
    DayDot,
    /// 12 de junio de 2027
    DayOf,
}

/// One language or country.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locale {
    pub tag: &'static str,
    pub decimal: char,
    pub group: char,
    pub grouping: Grouping,
    pub symbol: SymbolPlace,
    pub order: DateOrder,
    pub twelve_hours: bool,
    pub and: &'static str,
    pub months: [&'static str; 12],
    pub weekdays: [&'static str; 7],
}

const ENGLISH: Locale = Locale {
    tag: "en",
    decimal: '.',
    group: ',',
    grouping: Grouping::Thousands,
    symbol: SymbolPlace::Before,
    order: DateOrder::MonthFirst,
    twelve_hours: true,
    and: "and",
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    weekdays: [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ],
};

const BRITISH: Locale = Locale {
    tag: "en-GB",
    order: DateOrder::DayFirst,
    ..ENGLISH
};

const GERMAN: Locale = Locale {
    tag: "de",
    decimal: ',',
    group: '.',
    grouping: Grouping::Thousands,
    symbol: SymbolPlace::After,
    order: DateOrder::DayDot,
    twelve_hours: false,
    and: "und",
    months: [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    weekdays: [
        "Montag",
        "Dienstag",
        "Mittwoch",
        "Donnerstag",
        "Freitag",
        "Samstag",
        "Sonntag",
    ],
};

const FRENCH: Locale = Locale {
    tag: "fr",
    decimal: ',',
    group: '\u{202f}',
    order: DateOrder::DayFirst,
    and: "et",
    months: [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    weekdays: [
        "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche",
    ],
    ..GERMAN
};

const SPANISH: Locale = Locale {
    tag: "es",
    order: DateOrder::DayOf,
    and: "y",
    months: [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    weekdays: [
        "lunes",
        "martes",
        "miércoles",
        "jueves",
        "viernes",
        "sábado",
        "domingo",
    ],
    ..GERMAN
};

const ITALIAN: Locale = Locale {
    tag: "it",
    order: DateOrder::DayFirst,
    and: "e",
    months: [
        "gennaio",
        "febbraio",
        "marzo",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "agosto",
        "settembre",
        "ottobre",
        "novembre",
        "dicembre",
    ],
    weekdays: [
        "lunedì",
        "martedì",
        "mercoledì",
        "giovedì",
        "venerdì",
        "sabato",
        "domenica",
    ],
    ..GERMAN
};

const DUTCH: Locale = Locale {
    tag: "nl",
    symbol: SymbolPlace::Before,
    order: DateOrder::DayFirst,
    and: "en",
    months: [
        "januari",
        "februari",
        "maart",
        "april",
        "mei",
        "juni",
        "juli",
        "augustus",
        "september",
        "oktober",
        "november",
        "december",
    ],
    weekdays: [
        "maandag",
        "dinsdag",
        "woensdag",
        "donderdag",
        "vrijdag",
        "zaterdag",
        "zondag",
    ],
    ..GERMAN
};

const PORTUGUESE: Locale = Locale {
    tag: "pt",
    order: DateOrder::DayOf,
    and: "e",
    months: [
        "janeiro",
        "fevereiro",
        "março",
        "abril",
        "maio",
        "junho",
        "julho",
        "agosto",
        "setembro",
        "outubro",
        "novembro",
        "dezembro",
    ],
    weekdays: [
        "segunda-feira",
        "terça-feira",
        "quarta-feira",
        "quinta-feira",
        "sexta-feira",
        "sábado",
        "domingo",
    ],
    ..GERMAN
};

static LOCALES: [Locale; 8] = [
    ENGLISH, BRITISH, GERMAN, FRENCH, SPANISH, ITALIAN, DUTCH, PORTUGUESE,
];

impl Locale {
    /// The entry of a language tag: the exact one, else its language's, else English. English outside the United
    /// States writes the day first.
    pub(crate) fn of(tag: &str) -> &'static Self {
        let tag = tag.replace('_', "-");
        let language = tag.split('-').next().unwrap_or_default();
        if language.eq_ignore_ascii_case("en") {
            let american =
                tag.len() == 2 || tag.eq_ignore_ascii_case("en-US") || tag.eq_ignore_ascii_case("en-CA");
            return if american { &LOCALES[0] } else { &LOCALES[1] };
        }
        LOCALES
            .iter()
            .find(|locale| locale.tag.eq_ignore_ascii_case(language))
            .unwrap_or(&LOCALES[0])
    }
}

/// The direction a language is written in, as the `dir` attribute takes it.
pub(crate) fn direction(tag: &str) -> &'static str {
    let language = tag
        .split(['-', '_'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if matches!(language.as_str(), "ar" | "he" | "fa" | "ur" | "yi" | "ps" | "dv") {
        "rtl"
    } else {
        "ltr"
    }
}

/// How a currency is written.
pub(crate) struct Currency<'a> {
    pub symbol: &'a str,
    pub decimals: usize,
}

/// The sign and decimals of a currency; the code stands for those without a sign of their own.
pub(crate) fn currency(code: &str) -> Currency<'_> {
    let (symbol, decimals) = match code {
        "USD" => ("$", 2),
        "EUR" => ("€", 2),
        "GBP" => ("£", 2),
        "INR" => ("₹", 2),
        "JPY" => ("¥", 0),
        "KRW" => ("₩", 0),
        "CNY" => ("CN¥", 2),
        "AUD" => ("A$", 2),
        "CAD" => ("CA$", 2),
        "NZD" => ("NZ$", 2),
        "BRL" => ("R$", 2),
        "MXN" => ("MX$", 2),
        "ILS" => ("₪", 2),
        "NGN" => ("₦", 2),
        "VND" => ("₫", 0),
        "CLP" | "ISK" | "PYG" | "UGX" | "RWF" | "XOF" | "XAF" => (code, 0),
        "BHD" | "KWD" | "OMR" | "JOD" | "TND" => (code, 3),
        _ => (code, 2),
    };
    Currency { symbol, decimals }
}
