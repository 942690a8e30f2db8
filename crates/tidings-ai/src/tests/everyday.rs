//! Drafts as good models write them: all of them pass, or the checks would be of no use.

use super::{facts, figure, request};
use crate::facts::Fact;
use crate::request::{Base, BaseRole};
use crate::{DraftText, Finding, check};
use rstest::rstest;

const FACTS_NOTE: &str = "the figures and names below are all in the facts";

#[rstest]
#[case(
    "seven_day_checkin",
    "How is your Lawn King 350 doing?",
    "Hi Anna,\n\nYou have had your new Lawn King 350 for about a week now, and we would love to hear how it is going. \
     Is it starting easily? Does the cutting height feel right for your lawn? Small adjustments in the first days make a \
     big difference.\n\nIf anything is unclear, reply to this e-mail or call us at (555) 010-4477. Piotr set up your \
     machine and is happy to answer questions.\n\nEnjoy the first mow!\n\nWarm regards,\nYour Green Valley Equipment team"
)]
#[case(
    "post_service_survey",
    "How did we do with your Lawn King 350?",
    "Dear Anna Smith,\n\nThank you for trusting us with your Lawn King 350. Piotr Novak and the rest of the workshop hope \
     it is running smoothly again. Would you tell us how the visit went? Your honest opinion helps us improve, and it only \
     takes a moment: https://book.greenvalley.example/t/8231\n\nDid something not go as planned? Then please let us \
     know first, so that we can make it right.\n\nKind regards,\nGreen Valley Equipment"
)]
#[case(
    "annual_tuneup",
    "Time for the yearly tune-up of your Lawn King 350",
    "Good morning Anna,\n\nSpring is the right time to look after your Lawn King 350. Fresh oil, a sharp blade and a clean \
     filter keep it running reliably when the grass starts growing. Our tune-up costs $129.50, and until June 12 you save \
     10% on it.\n\nWould you like us to set a morning aside for you? Pick a time at \
     https://book.greenvalley.example/t/8231, or call (555) 010-4477.\n\nSee you soon,\nGreen Valley Equipment"
)]
#[case(
    "warranty_expiration",
    "The warranty of your Lawn King 350 ends on June 12, 2027",
    "Hello Anna,\n\nA short note before it slips by: the warranty of your Lawn King 350 ends on Saturday, June 12, 2027. \
     Have you noticed anything unusual, such as a rough start or a new noise? Bring it in before then, and we will have a \
     look while it is still covered.\n\nYou can book a visit here: https://book.greenvalley.example/t/8231\n\n\
     Best wishes,\nGreen Valley Equipment"
)]
#[case(
    "winback_missed_you",
    "We have missed you and your Lawn King 350",
    "Hi Anna,\n\nIt has been 2 years since your last visit, and we were wondering how your Lawn King 350 is holding up. \
     Machines that rest for a while often like a little attention: old fuel, a tired battery and a dull blade are easy to \
     fix when they are found early.\n\nWe would be glad to see you again. Just reply to this message, and we'll find a day \
     that suits you.\n\nAll the best,\nPiotr and the team at Green Valley Equipment"
)]
#[case(
    "educational_content",
    "A small habit that keeps your mower sharp",
    "Hi Anna,\n\nHere's a tip for your Lawn King 350: rinse the underside of the deck after mowing, once the engine is \
     cold. Wet clippings hold moisture against the steel, and a clean deck lets the air carry the grass away properly. \
     Always pull the spark plug lead before you reach under the deck.\n\nDo you have a question about your machine? Reply \
     to this e-mail. We enjoy talking shop.\n\nHappy mowing,\nGreen Valley Equipment"
)]
#[case(
    "trade_in_alert",
    "Is it time to think about a successor?",
    "Hi Anna,\n\nYour Lawn King 350 has served you well, and lately it has needed our help more often. Sometimes the next \
     repair is the sensible choice, and sometimes a newer machine saves you money and trouble. We can look at both with you: \
     what the repairs would come to, and what we would give you for yours.\n\nStop by with it, or call (555) 010-4477 and ask \
     for a valuation. There's no pressure either way.\n\nRegards,\nGreen Valley Equipment"
)]
fn good_drafts_pass(#[case] message_type: &str, #[case] subject: &str, #[case] body: &str) {
    let mut request = request();
    request.system_prompt = crate::prompt(message_type).expect("a prompt").into();
    let text = DraftText {
        subject: Some(subject.to_owned()),
        body: body.to_owned(),
    };
    let told: Vec<String> = check(&text, &request).iter().map(Finding::told).collect();
    assert_eq!(told, [""; 0], "{FACTS_NOTE}");
}

#[rstest]
#[case(
    "de",
    "Wartung für Ihren Lawn King 350",
    "Guten Tag Frau Smith,\n\nIhr Lawn King 350 läuft nun seit zwei Jahren zuverlässig. \
    Damit das so bleibt, empfehlen wir eine Durchsicht vor Beginn der Saison: frisches Öl, ein scharfes Messer und ein sauberer \
    Filter machen viel aus. Die Durchsicht kostet 129,50 USD, und bis zum 12. Juni 2027 sparen Sie 10 %.\n\nEinen Termin vereinbaren \
    Sie unter https://book.greenvalley.example/t/8231 oder telefonisch unter (555) 010-4477.\n\nMit freundlichen Grüßen\n\
    Ihr Team von Green Valley Equipment"
)]
#[case(
    "fr",
    "L'entretien de votre Lawn King 350",
    "Bonjour Anna,\n\nVotre Lawn King 350 a bientôt besoin de son entretien annuel. Une \
    vidange, une lame affûtée et un filtre propre suffisent souvent pour bien commencer la saison. L'entretien coûte 129,50 $ et \
    vous économisez 10 % jusqu'au 12 juin 2027.\n\nPour prendre rendez-vous : https://book.greenvalley.example/t/8231\n\nCordialement,\n\
    L'équipe de Green Valley Equipment"
)]
#[case(
    "es",
    "Es hora de revisar su Lawn King 350",
    "Hola Anna:\n\nSu Lawn King 350 pronto necesita la revisión anual. Con aceite nuevo, \
    una cuchilla afilada y un filtro limpio estará lista para la temporada. La revisión cuesta $129,50 y ahorra un 10 % hasta el 12 de \
    junio de 2027.\n\nPuede reservar en https://book.greenvalley.example/t/8231 o llamarnos al (555) 010-4477.\n\nSaludos,\nGreen Valley Equipment"
)]
#[case(
    "it",
    "La revisione del suo Lawn King 350",
    "Gentile Anna,\n\nil suo Lawn King 350 ha presto bisogno della revisione annuale. Olio \
    fresco, una lama affilata e un filtro pulito bastano spesso per iniziare bene la stagione. Può prenotare qui: \
    https://book.greenvalley.example/t/8231\n\nCordiali saluti,\nGreen Valley Equipment"
)]
#[case(
    "nl",
    "Onderhoud voor uw Lawn King 350",
    "Beste Anna,\n\nUw Lawn King 350 is binnenkort toe aan de jaarlijkse beurt. Met verse olie, \
    een scherp mes en een schoon filter begint u het seizoen goed. U kunt een afspraak maken op https://book.greenvalley.example/t/8231 \
    of ons bellen op (555) 010-4477.\n\nMet vriendelijke groet,\nGreen Valley Equipment"
)]
fn so_do_those_in_other_languages(#[case] locale: &str, #[case] subject: &str, #[case] body: &str) {
    let mut request = request();
    request.locale = locale.to_owned();
    let text = DraftText {
        subject: Some(subject.to_owned()),
        body: body.to_owned(),
    };
    let told: Vec<String> = check(&text, &request).iter().map(Finding::told).collect();
    assert_eq!(told, [""; 0], "{FACTS_NOTE}");
}

#[test]
fn a_template_that_is_a_source_lends_its_offer() {
    let mut request = request();
    request.facts = facts([
        ("customer_name", Fact::Name("Anna Smith".into())),
        ("hours", Fact::Number(figure("120"))),
    ]);
    request.base = Base {
        subject: Some("Your Mower Is Due".to_owned()),
        text: "Hi Anna, your mower has run 120 hours. We recommend service every 100 hours. Book the Spring Care Package for \
               $89 at https://book.example/care."
            .to_owned(),
        role: BaseRole::Source,
    };
    let text = DraftText {
        subject: Some("Your mower has earned a service".to_owned()),
        body: "Hi Anna,\n\nYour mower has run 120 hours, and we recommend a service every 100 hours. The Spring Care Package \
               takes care of it for $89. Pick a day that suits you at https://book.example/care, and we will have everything \
               ready.\n\nKind regards,\nGreen Valley Equipment"
            .to_owned(),
    };
    let told: Vec<String> = check(&text, &request).iter().map(Finding::told).collect();
    assert_eq!(told, [""; 0]);
}
