//! Webhooks that come at the same moment share a commit; none holds up another.

use crate::hooks::SendGrid;
use crate::world::World;
use serde_json::json;
use tidings_engine::WebhookError;

/// Webhooks at once.
const AT_ONCE: usize = 40;

/// Sends a webhook of an open for each number, all at the same moment.
async fn send_at_once(world: &World, grid: &SendGrid, numbers: &[usize]) -> Vec<Result<(), WebhookError>> {
    let sending = numbers.iter().map(|number| async move {
        let events = json!([{
            "event": "open", "sg_event_id": format!("e{number}"), "email": "ann@example.com", "timestamp": 1_781_622_000,
            "sg_message_id": format!("m{number}.recvd-1"),
        }]);
        grid.send(world, events).await.map(|_| ())
    });
    futures::future::join_all(sending).await
}

/// Webhooks, jobs for them, and transactions that stored them.
async fn kept(world: &World) -> [String; 3] {
    let mut counts = Vec::new();
    for query in [
        "SELECT count(*) FROM webhook_inbox",
        "SELECT count(DISTINCT source_reference) FROM communication_jobs WHERE job_type = 'webhook.process'",
        "SELECT count(DISTINCT xmin::text) FROM webhook_inbox",
    ] {
        counts.extend(world.database.texts(query).await);
    }
    counts.try_into().unwrap()
}

#[tokio::test]
async fn webhooks_at_once_share_commits_and_the_same_one_is_kept_once() {
    let mut world = World::bare().await;
    let grid = SendGrid::connect(&mut world).await;
    let twice: Vec<usize> = (0..AT_ONCE).chain(0..AT_ONCE).collect();
    let answers = send_at_once(&world, &grid, &twice).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let [webhooks, jobs, commits] = kept(&world).await;
    assert_eq!((webhooks.as_str(), jobs.as_str()), ("40", "40"));
    assert!(
        commits.parse::<usize>().unwrap() < AT_ONCE / 2,
        "{commits} commits"
    );
}

#[tokio::test]
async fn one_that_cannot_be_kept_holds_up_no_other() {
    let mut world = World::bare().await;
    let grid = SendGrid::connect(&mut world).await;
    let other = SendGrid::connect_as(&mut world, "other").await;
    for statement in [
        format!(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF new.connection_id = '{}' THEN RAISE EXCEPTION 'spoilt'; END IF; RETURN new; END $$",
            other.connection
        ),
        "CREATE TRIGGER spoil BEFORE INSERT ON webhook_inbox FOR EACH ROW EXECUTE FUNCTION spoil()"
            .to_owned(),
    ] {
        world.database.execute(&statement).await;
    }
    let numbers: Vec<usize> = (0..AT_ONCE).collect();
    let (answers, refused) = tokio::join!(
        send_at_once(&world, &grid, &numbers),
        send_at_once(&world, &other, &[0]),
    );
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(
        matches!(refused[..], [Err(WebhookError::Engine(_))]),
        "{refused:?}"
    );
    let [webhooks, jobs, _] = kept(&world).await;
    assert_eq!((webhooks.as_str(), jobs.as_str()), ("40", "40"));
}
