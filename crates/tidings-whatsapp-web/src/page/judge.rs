//! What the page's script found, and what it means. Pure.

use super::selectors::NOT_ON_WHATSAPP;
use serde::Deserialize;
use std::collections::HashSet;
use tidings_core::redact::Private;
use tidings_providers::whatsapp_web::wire::{SessionState, Standing};

/// What the page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Look {
    /// The list of chats is there.
    pub ready: bool,
    /// The pairing code.
    pub qr: Option<Private<String>>,
    /// The pairing code has expired.
    pub expired: bool,
    /// The page says that it has no connection.
    pub offline: bool,
    /// The words of what lies over the page.
    pub modal: Option<Private<String>>,
    /// The page says that the account is locked.
    pub locked: bool,
    /// The paired number, digits only.
    pub account: Option<Private<String>>,
}

impl Look {
    /// How the session stands, and what stands in the way.
    pub fn state(&self) -> (SessionState, Option<&'static str>) {
        if self.ready && self.modal.is_some() {
            let why = "something lies over the page; another window may use the account";
            return (SessionState::Blocked, Some(why));
        }
        if self.ready && self.offline {
            let why = "the page has lost its connection to WhatsApp, or to the phone";
            return (SessionState::Disconnected, Some(why));
        }
        if self.ready {
            return (SessionState::Ready, None);
        }
        if self.locked {
            let why = "WhatsApp has locked the account; look into the app on the phone";
            return (SessionState::Blocked, Some(why));
        }
        if self.qr.is_some() || self.expired {
            return (SessionState::Pairing, Some("a phone must scan the code"));
        }
        if self.modal.is_some() {
            return (SessionState::Blocked, Some("something lies over the page"));
        }
        (SessionState::Starting, None)
    }
}

/// The chat that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Chat {
    /// There is a box to write in.
    pub open: bool,
    /// The words of what lies over the page.
    pub modal: Option<String>,
    /// Its title: a name, or the number where the phone has no name for it.
    pub title: String,
    /// Its newest messages, oldest first.
    pub messages: Vec<Message>,
}

/// A message in a chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// The page's id of it, which may hold the number.
    pub id: String,
    /// It is ours.
    pub out: bool,
    /// What it says.
    pub text: String,
    /// The mark on it.
    pub tick: Option<Tick>,
    /// Something other than text is in it.
    pub media: bool,
    /// Time and author, as they are copied along with the text.
    pub author: String,
}

/// The mark on a message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tick {
    /// A clock.
    Pending,
    /// One tick.
    Sent,
    /// Two ticks.
    Delivered,
    /// Two blue ticks.
    Read,
    /// An exclamation mark; the page may try again by itself.
    Failed,
}

impl Message {
    /// WhatsApp's id of it, without the number.
    pub fn whatsapp_id(&self) -> &str {
        let mut parts = self.id.split('_');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("true" | "false"), Some(_), Some(id)) => id,
            _ => &self.id,
        }
    }

    /// The peer of its chat: digits of a number, or a local id.
    pub fn peer(&self) -> Option<Peer<'_>> {
        let mut parts = self.id.split('_');
        let (Some("true" | "false"), Some(peer)) = (parts.next(), parts.next()) else {
            return None;
        };
        let (name, server) = peer.split_once('@')?;
        match server {
            "c.us" | "s.whatsapp.net" => Some(Peer::Number(name)),
            "lid" => Some(Peer::Local(name)),
            _ => Some(Peer::Group),
        }
    }

    /// Where it stands, by its mark. Without one it is in the chat, and no more is known.
    pub fn standing(&self) -> Standing {
        match self.tick {
            Some(Tick::Sent) => Standing::Sent,
            Some(Tick::Delivered) => Standing::Delivered,
            Some(Tick::Read) => Standing::Read,
            Some(Tick::Pending | Tick::Failed) | None => Standing::Pending,
        }
    }

    /// Whether it is the message with this text: words that are left out at its end ("Read more") do not matter when enough
    /// of it is there.
    fn says(&self, text: &str) -> bool {
        const ENOUGH: usize = 200;
        let (shown, wanted) = (bare(&self.text), bare(text));
        shown == wanted || (shown.len() >= ENOUGH && wanted.starts_with(&shown))
    }
}

/// Who a chat is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer<'m> {
    /// A number, digits only.
    Number(&'m str),
    /// WhatsApp's own id of somebody whose number the page does not tell.
    Local(&'m str),
    /// More than one person.
    Group,
}

impl Chat {
    /// The id of the newest message.
    pub fn newest(&self) -> Option<&str> {
        self.messages.last().map(|message| message.id.as_str())
    }

    /// Every id.
    pub fn ids(&self) -> HashSet<String> {
        self.messages.iter().map(|message| message.id.clone()).collect()
    }

    /// Who it is with, as far as the page tells.
    pub fn peer(&self) -> Option<Peer<'_>> {
        self.messages.iter().rev().find_map(Message::peer)
    }

    /// Itself, unless its messages are those of another number.
    pub fn of_number(self, digits: &str) -> Result<Self, String> {
        match self.peer() {
            Some(Peer::Number(other)) if !same_number(other, digits) => {
                Err("the page opened the chat of another number".to_owned())
            }
            Some(Peer::Group) => Err("the page opened a group".to_owned()),
            _ => Ok(self),
        }
    }

    /// The message of ours that was not there before and says this.
    pub fn sent<'c>(&'c self, before: &HashSet<String>, text: &str) -> Option<&'c Message> {
        self.messages
            .iter()
            .rev()
            .find(|message| message.out && !before.contains(&message.id) && message.says(text))
    }

    /// Messages to us that may be new: the last `unread` ones, all after our last message, and all that were not there when
    /// the chat was opened. Which of them were handed over before is for the caller to know.
    pub fn may_be_new(&self, unread: usize, before: Option<&HashSet<String>>) -> Vec<&Message> {
        let answered = self.messages.iter().rposition(|message| message.out);
        let incoming: Vec<(usize, &Message)> = self
            .messages
            .iter()
            .enumerate()
            .filter(|(_, message)| !message.out)
            .collect();
        let from = incoming.len().saturating_sub(unread);
        incoming
            .into_iter()
            .enumerate()
            .filter(|(number, (index, message))| {
                *number >= from
                    || answered.is_none_or(|answered| *index > answered)
                    || before.is_some_and(|before| !before.contains(&message.id))
            })
            .map(|(_, (_, message))| message)
            .collect()
    }

    /// The number of somebody whom the page calls by it: in the title, or beside the message.
    pub fn number_shown(&self, message: &Message) -> Option<String> {
        let author = message.author.rsplit_once("] ").map_or("", |(_, author)| author);
        phone(&self.title).or_else(|| phone(author))
    }
}

/// Whether two numbers are the same person's: WhatsApp writes some countries' mobile numbers with a digit more or less than
/// is dialled (Argentina, Brazil, Mexico), never at the end.
fn same_number(one: &str, other: &str) -> bool {
    const END: usize = 7;
    let end = |digits: &str| digits.get(digits.len().saturating_sub(END)..).map(str::to_owned);
    end(one) == end(other)
}

/// The digits of a text that is a phone number in international form and nothing else.
fn phone(text: &str) -> Option<String> {
    // The page wraps numbers into marks of writing direction.
    let plain =
        text.trim_matches(|c: char| c.is_whitespace() || c == ':' || ('\u{2000}'..='\u{206F}').contains(&c));
    let rest = plain.strip_prefix('+')?;
    let known = |c: char| c.is_ascii_digit() || c.is_whitespace() || "()-./".contains(c) || c == '\u{2011}';
    let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
    (rest.chars().all(known) && (6..=15).contains(&digits.len())).then_some(digits)
}

/// Whether a dialog says that a number is not on WhatsApp.
pub fn says_not_on_whatsapp(words: &str) -> bool {
    let words = words.to_lowercase().replace('\u{2019}', "'");
    NOT_ON_WHATSAPP.iter().any(|part| words.contains(part))
}

/// Whether the box holds the text: every word of it, in order. Marks of formatting may be shown as what they do.
pub fn same_text(written: &str, text: &str) -> bool {
    fn words(text: &str) -> Vec<String> {
        text.split_whitespace()
            .map(bare)
            .filter(|word| !word.is_empty())
            .collect()
    }
    if has_letters(text) {
        let plain =
            |text: &str| words(&text.replace(|c: char| !c.is_alphanumeric() && !is_invisible(c), " "));
        plain(written) == plain(text)
    } else {
        words(written) == words(text)
    }
}

/// A text without what formatting and layout change: its letters and digits, or, where it has none, what can be seen of it.
fn bare(text: &str) -> String {
    let letters = has_letters(text);
    text.chars()
        .filter(|c| {
            if letters {
                c.is_alphanumeric()
            } else {
                !c.is_whitespace() && !is_invisible(*c)
            }
        })
        .collect()
}

fn has_letters(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// Joiners, marks of writing direction and variation selectors: the page adds and drops them.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{FE0E}' | '\u{FE0F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn message(id: &str, out: bool, text: &str) -> Message {
        Message {
            id: id.to_owned(),
            out,
            text: text.to_owned(),
            ..Message::default()
        }
    }

    fn chat(messages: &[(&str, bool)]) -> Chat {
        let messages = messages.iter().map(|(id, out)| message(id, *out, id)).collect();
        Chat {
            open: true,
            messages,
            ..Chat::default()
        }
    }

    fn new(chat: &Chat, unread: usize, before: Option<&[&str]>) -> Vec<String> {
        let before: Option<HashSet<String>> =
            before.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        let new = chat.may_be_new(unread, before.as_ref());
        new.into_iter().map(|message| message.id.clone()).collect()
    }

    #[test]
    fn what_may_be_new() {
        let talk = chat(&[("a", false), ("b", true), ("c", false), ("d", false), ("e", true)]);
        // Answered already, so nothing but what the list calls unread.
        assert_eq!(new(&talk, 0, None), [""; 0]);
        assert_eq!(new(&talk, 1, None), ["d"]);
        assert_eq!(new(&talk, 9, None), ["a", "c", "d"]);
        // Arrived while the chat was open, before our own went.
        assert_eq!(new(&talk, 0, Some(&["a", "b", "c"])), ["d"]);
        let waiting = chat(&[("a", false), ("b", true), ("c", false), ("d", false)]);
        assert_eq!(new(&waiting, 0, None), ["c", "d"]);
        assert_eq!(new(&chat(&[("a", false)]), 0, Some(&["a"])), ["a"]);
        assert_eq!(new(&chat(&[]), 3, None), [""; 0]);
    }

    #[rstest]
    #[case("true_4366411@c.us_3EB0A", "3EB0A", Some(Peer::Number("4366411")))]
    #[case("false_99@lid_3EB0A", "3EB0A", Some(Peer::Local("99")))]
    #[case("false_12-34@g.us_3EB0A_4366411@c.us", "3EB0A", Some(Peer::Group))]
    #[case("3EB0A", "3EB0A", None)]
    fn ids_are_read(#[case] id: &str, #[case] whatsapp: &str, #[case] peer: Option<Peer<'_>>) {
        let message = message(id, true, "");
        assert_eq!((message.whatsapp_id(), message.peer()), (whatsapp, peer));
    }

    #[rstest]
    #[case("+43 664 1234567", Some("436641234567"))]
    #[case("\u{202A}+1 (415) 555\u{2011}2671\u{202C}", Some("14155552671"))]
    #[case("+43 664 1234567: ", Some("436641234567"))]
    #[case("Kim +43", None)]
    #[case("+43", None)]
    #[case("Kim", None)]
    fn numbers_are_read_where_there_are_no_names(#[case] title: &str, #[case] digits: Option<&str>) {
        assert_eq!(phone(title).as_deref(), digits);
    }

    #[test]
    fn a_message_of_ours_is_known_by_its_text_and_by_being_new() {
        let before = HashSet::from(["old".to_owned()]);
        let mut chat = chat(&[("old", true), ("new", true)]);
        chat.messages[1].text = "Ready at five \u{200E}today".to_owned();
        assert_eq!(
            chat.sent(&before, "*Ready* at five\ntoday")
                .map(|m| m.id.as_str()),
            Some("new")
        );
        assert_eq!(chat.sent(&before, "old"), None);
        assert_eq!(chat.sent(&before, "Ready"), None);
        // A long one is cut off by the page.
        let long = "word ".repeat(100);
        chat.messages[1].text = long[..300].to_owned();
        assert!(chat.sent(&before, &long).is_some());
        chat.messages[1].text = long[..100].to_owned();
        assert!(chat.sent(&before, &long).is_none());
    }

    #[test]
    fn the_box_must_hold_what_was_asked() {
        assert!(same_text(
            "Hello\u{A0}Kim\n\nsee you \u{263A}\u{FE0F}",
            "Hello Kim\nsee you \u{263A}"
        ));
        // The page makes a list of it, and a face.
        assert!(same_text(
            "Bring\nmilk\neggs \u{1F642}",
            "Bring\n- milk\n- eggs :)"
        ));
        assert!(same_text("\u{1F44D}\u{FE0F}", "\u{1F44D}"));
        for other in ["Hello", "Hello Kim Kim", "HelloKim", "HELLO KIM", "Kim Hello", ""] {
            assert!(!same_text(other, "Hello Kim"), "{other}");
        }
        assert!(!same_text("\u{1F44D}", "\u{1F44E}"));
    }

    #[test]
    fn the_state_follows_from_what_is_shown() {
        let look = |change: fn(&mut Look)| {
            let mut look = Look::default();
            change(&mut look);
            look.state().0
        };
        assert_eq!(look(|_| {}), SessionState::Starting);
        assert_eq!(
            look(|look| look.qr = Some(Private::new("2@x".to_owned()))),
            SessionState::Pairing
        );
        assert_eq!(look(|look| look.ready = true), SessionState::Ready);
        assert_eq!(
            look(|look| (look.ready, look.offline) = (true, true)),
            SessionState::Disconnected
        );
        let over = |look: &mut Look| (look.ready, look.modal) = (true, Some(Private::new(String::new())));
        assert_eq!(look(over), SessionState::Blocked);
        assert_eq!(look(|look| look.locked = true), SessionState::Blocked);
    }

    #[test]
    fn the_dialog_about_a_number_is_known() {
        assert!(says_not_on_whatsapp("Phone number shared via url is invalid. OK"));
        assert!(says_not_on_whatsapp("The number isn\u{2019}t on WhatsApp"));
        assert!(!says_not_on_whatsapp("WhatsApp is open in another window"));
    }

    #[test]
    fn a_chat_of_somebody_else_is_refused() {
        let mut chat = chat(&[("true_4366411@c.us_1", true)]);
        assert!(chat.clone().of_number("4366411").is_ok());
        assert!(chat.clone().of_number("4366422").is_err());
        chat.messages[0].id = "true_5215512345678@c.us_1".to_owned();
        assert!(chat.clone().of_number("525512345678").is_ok());
        chat.messages[0].id = "true_12@g.us_1".to_owned();
        assert!(chat.clone().of_number("4366411").is_err());
        chat.messages.clear();
        assert!(chat.of_number("4366411").is_ok());
    }
}
