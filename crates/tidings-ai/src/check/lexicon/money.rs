//! Signs, codes and words of currencies, with the codes each may mean.

type Codes = &'static [&'static str];

const DOLLARS: Codes = &[
    "USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "ARS", "CLP", "COP", "TWD", "JMD", "TTD",
];
const EURO: Codes = &["EUR"];
const POUNDS: Codes = &["GBP", "EGP"];
const CROWNS: Codes = &["SEK", "NOK", "DKK", "ISK", "CZK"];
const PESOS: Codes = &["MXN", "ARS", "CLP", "COP", "PHP", "UYU", "DOP"];
const FRANCS: Codes = &["CHF", "XAF", "XOF"];
const RUPEES: Codes = &["INR", "PKR", "LKR", "NPR", "MUR"];

/// Signs, with the letters that make them plain.
pub(in super::super) const CURRENCY_SIGNS: &[(&str, Codes)] = &[
    ("$", DOLLARS),
    ("US$", &["USD"]),
    ("C$", &["CAD"]),
    ("CA$", &["CAD"]),
    ("A$", &["AUD"]),
    ("AU$", &["AUD"]),
    ("NZ$", &["NZD"]),
    ("S$", &["SGD"]),
    ("HK$", &["HKD"]),
    ("NT$", &["TWD"]),
    ("MX$", &["MXN"]),
    ("R$", &["BRL"]),
    ("€", EURO),
    ("£", POUNDS),
    ("¥", &["JPY", "CNY"]),
    ("CN¥", &["CNY"]),
    ("₹", &["INR"]),
    ("₩", &["KRW"]),
    ("₽", &["RUB"]),
    ("₴", &["UAH"]),
    ("₪", &["ILS"]),
    ("₫", &["VND"]),
    ("₦", &["NGN"]),
    ("₱", &["PHP"]),
    ("฿", &["THB"]),
    ("₺", &["TRY"]),
    ("₡", &["CRC"]),
    ("₲", &["PYG"]),
    ("₵", &["GHS"]),
    ("₸", &["KZT"]),
    ("₼", &["AZN"]),
    ("₾", &["GEL"]),
    ("₭", &["LAK"]),
    ("₮", &["MNT"]),
    ("元", &["CNY", "TWD", "HKD"]),
    ("块", &["CNY"]),
    ("円", &["JPY"]),
    ("원", &["KRW"]),
    // A hundredth is never what a fact holds.
    ("¢", &[]),
    ("﷼", &["SAR", "IRR", "QAR", "OMR"]),
];

/// Codes that are written in capitals.
const CODES: &[(&str, Codes)] = &[
    ("USD", &["USD"]),
    ("EUR", &["EUR"]),
    ("GBP", &["GBP"]),
    ("CHF", &["CHF"]),
    ("JPY", &["JPY"]),
    ("CNY", &["CNY"]),
    ("RMB", &["CNY"]),
    ("CAD", &["CAD"]),
    ("AUD", &["AUD"]),
    ("NZD", &["NZD"]),
    ("SGD", &["SGD"]),
    ("HKD", &["HKD"]),
    ("INR", &["INR"]),
    ("PKR", &["PKR"]),
    ("KRW", &["KRW"]),
    ("SEK", &["SEK"]),
    ("NOK", &["NOK"]),
    ("DKK", &["DKK"]),
    ("ISK", &["ISK"]),
    ("PLN", &["PLN"]),
    ("CZK", &["CZK"]),
    ("HUF", &["HUF"]),
    ("RON", &["RON"]),
    ("BGN", &["BGN"]),
    ("RUB", &["RUB"]),
    ("UAH", &["UAH"]),
    ("TRY", &["TRY"]),
    ("ILS", &["ILS"]),
    ("AED", &["AED"]),
    ("SAR", &["SAR"]),
    ("QAR", &["QAR"]),
    ("KWD", &["KWD"]),
    ("BHD", &["BHD"]),
    ("OMR", &["OMR"]),
    ("JOD", &["JOD"]),
    ("EGP", &["EGP"]),
    ("MAD", &["MAD"]),
    ("TND", &["TND"]),
    ("ZAR", &["ZAR"]),
    ("NGN", &["NGN"]),
    ("KES", &["KES"]),
    ("GHS", &["GHS"]),
    ("BRL", &["BRL"]),
    ("MXN", &["MXN"]),
    ("ARS", &["ARS"]),
    ("CLP", &["CLP"]),
    ("COP", &["COP"]),
    ("PEN", &["PEN"]),
    ("UYU", &["UYU"]),
    ("THB", &["THB"]),
    ("VND", &["VND"]),
    ("IDR", &["IDR"]),
    ("MYR", &["MYR"]),
    ("PHP", &["PHP"]),
    ("TWD", &["TWD"]),
    ("BTC", &[]),
    ("ETH", &[]),
];

/// Words, in lower case.
const WORDS: &[(&[&str], Codes)] = &[
    (
        &[
            "dollar",
            "dollars",
            "buck",
            "bucks",
            "dólar",
            "dólares",
            "dollari",
            "dollaro",
            "dollarn",
            "доллар",
            "доллара",
            "долларов",
            "دولار",
        ],
        DOLLARS,
    ),
    (&["euro", "euros", "eur", "ευρώ", "евро", "يورو"], EURO),
    (
        &[
            "pound", "pounds", "quid", "pfund", "livres", "libra", "libras", "sterlina", "sterline",
        ],
        POUNDS,
    ),
    (
        &[
            "cent",
            "cents",
            "penny",
            "pence",
            "centime",
            "centimes",
            "centavos",
            "céntimos",
            "centesimi",
        ],
        &[],
    ),
    (
        &[
            "franken", "franc", "francs", "franco", "francos", "franchi", "sfr", "fr",
        ],
        FRANCS,
    ),
    (&["rupee", "rupees", "rs", "rupien", "रुपये", "रुपए"], RUPEES),
    (&["yen"], &["JPY"]),
    (&["yuan", "renminbi"], &["CNY"]),
    (&["won"], &["KRW"]),
    (&["peso", "pesos"], PESOS),
    (&["real", "reais"], &["BRL"]),
    (&["rand"], &["ZAR"]),
    (&["krona", "kronor", "kroner", "krone", "kronen", "kr"], CROWNS),
    (&["zloty", "zlotys", "zł", "złoty", "złote", "złotych"], &["PLN"]),
    (&["kč", "korun", "koruny"], &["CZK"]),
    (&["forint"], &["HUF"]),
    (&["lei"], &["RON"]),
    (&["lira", "lirası", "tl"], &["TRY"]),
    (&["руб", "рублей", "рубля", "рубль"], &["RUB"]),
    (&["грн", "гривень", "гривні"], &["UAH"]),
    (&["лв", "лева"], &["BGN"]),
    (&["dirham", "dirhams", "درهم"], &["AED", "MAD"]),
    (&["riyal", "riyals", "ريال"], &["SAR", "QAR", "OMR"]),
    (&["shekel", "shekels"], &["ILS"]),
    (&["baht", "บาท"], &["THB"]),
    (&["usd"], &["USD"]),
    (&["gbp"], &["GBP"]),
    (&["chf"], &["CHF"]),
];

/// Beginnings of words in scripts without blanks.
const STARTS: &[(&str, Codes)] = &[
    ("美元", &["USD"]),
    ("欧元", &["EUR"]),
    ("歐元", &["EUR"]),
    ("英镑", &["GBP"]),
    ("日元", &["JPY"]),
    ("人民币", &["CNY"]),
    ("ドル", &["USD"]),
    ("ユーロ", &["EUR"]),
    ("달러", &["USD"]),
    ("유로", &["EUR"]),
    ("บาท", &["THB"]),
];

/// The codes a code or word may mean. Codes count in capitals only: "try" and "all" are words.
pub(in super::super) fn currency_word(word: &str) -> Option<Codes> {
    let code = CODES
        .iter()
        .find(|(code, _)| *code == word)
        .map(|(_, codes)| *codes);
    code.or_else(|| {
        let lower = word.to_lowercase();
        WORDS
            .iter()
            .find(|(words, _)| words.contains(&lower.as_str()))
            .map(|(_, codes)| *codes)
    })
}

/// The codes that a run of letters begins with, and how many of its characters name them.
pub(in super::super) fn currency_start(run: &str) -> Option<(Codes, usize)> {
    let (start, codes) = STARTS.iter().find(|(start, _)| run.starts_with(start))?;
    Some((codes, start.chars().count()))
}

/// A sign that stands alone for a currency.
pub(in super::super) fn is_currency_sign(c: char) -> bool {
    CURRENCY_SIGNS.iter().any(|(sign, _)| sign.chars().eq([c]))
        || matches!(c, '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}')
}
