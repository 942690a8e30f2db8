//! Messages from contacts on their way to Tidings.

use crate::world::World;
use tidings_core::Channel;
use tidings_providers::InboundMessage;
use tidings_providers::whatsapp_web::wire::SessionState;
use tidings_testkit::phone::{Chat, Phone};

fn said(message: &InboundMessage) -> (Channel, &str, &str) {
    (
        message.channel,
        message.from.expose().as_str(),
        message.text.expose().as_str(),
    )
}

#[tokio::test]
async fn unread_messages_are_handed_over_once_and_wait_while_tidings_does_not_take_them() {
    let kim = Chat::of("436642222222", "Kim");
    let mut team = Chat::of("12-34", "Team");
    (team.peer, team.group) = ("12-34@g.us".to_owned(), true);
    let Some(mut world) = World::new(Phone::paired(vec![team, kim]).await, SessionState::Ready).await else {
        return;
    };
    world.hook.takes(false);
    world.phone.write("12-34@g.us", "Lunch?");
    world.phone.write("436642222222@c.us", "STOP");
    world.hook.refused.recv().await.unwrap();
    let mut world = world.restart().await;
    world.hook.takes(true);
    let heard = world.hears().await;
    assert_eq!(heard.inbound.len(), 1);
    assert_eq!(
        said(&heard.inbound[0]),
        (Channel::WhatsappWeb, "+436642222222", "STOP")
    );
    assert_eq!(heard.inbound[0].to.as_ref().unwrap().expose(), "+436641111111");
    // The next one comes alone: the one before is not handed over again, nor is the group.
    world.phone.write("436642222222@c.us", "Sorry, START");
    let heard = world.hears().await;
    assert_eq!(heard.inbound.len(), 1);
    assert_eq!(said(&heard.inbound[0]).2, "Sorry, START");
    world.end().await;
}

#[tokio::test]
async fn an_answer_in_the_chat_that_is_open_is_heard_and_joined_to_its_number() {
    // WhatsApp calls her by an id of its own, and the phone has a name for her: only our own message tells the number.
    let ann = Chat::local("99", "436643333333", "Ann");
    let Some(mut world) = World::new(Phone::paired(vec![ann]).await, SessionState::Ready).await else {
        return;
    };
    world.phone.write("99@lid", "Anybody there?");
    world.phone.until(|shown| shown.chats[0].unread == 0).await;
    assert_eq!(world.post("r-1", "+436643333333", "Are you coming?").await.0, 200);
    world.phone.write("99@lid", "Yes");
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.extend(world.hears().await.inbound);
    }
    // What nobody could be named for before is handed over once it can.
    let said: Vec<_> = heard.iter().map(said).collect();
    let from = |text| (Channel::WhatsappWeb, "+436643333333", text);
    assert_eq!(said, [from("Anybody there?"), from("Yes")]);

    // Known from now on, also where another chat was open and after a restart.
    let mut world = world.restart().await;
    world.phone.write("99@lid", "No, sorry");
    let heard = world.hears().await;
    assert_eq!(said_all(&heard.inbound), [from("No, sorry")]);
    world.end().await;
}

fn said_all(messages: &[InboundMessage]) -> Vec<(Channel, &str, &str)> {
    messages.iter().map(said).collect()
}
