//! Where buckets are kept: in the database, in a Redis where there is one, or, for a process by itself, in its memory. Of
//! database and Redis one counts at any time: a row of the database says which, and a node goes by what it read for a
//! second at most.

use crate::engine::Inner;
use crate::error::EngineError;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidings_core::limit::{Bucket, Lease, Pace, Wish};
use tidings_core::{ConnectionId, TenantId};
use tidings_store::Conn;
use tidings_store::limits::{self, Keeper, Live, RedisBuckets, RedisFailure};

/// How long a node goes by what it read of the keeper. The handover between keepers allows for it
/// ([`tidings_core::limit::HANDOVER_US`]).
const TRUSTED: Duration = Duration::from_secs(1);

/// After Redis was lost: when it may keep the buckets again, in microseconds. Each change costs every line a pause.
const BACK_US: i64 = 30_000_000;

/// The same where this node has no Redis and the others have: they are told wrongly, and it must not go to and fro.
const APART_US: i64 = 600_000_000;

/// How soon a node that cannot reach Redis tries again.
const RETRY: Duration = Duration::from_secs(5);

/// The keeper may change under our hands; a node that cannot follow asks later.
const ROUNDS: u32 = 3;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Source {
    in_process: AtomicBool,
    own: Mutex<HashMap<ConnectionId, Bucket>>,
    redis: Option<RedisBuckets>,
    known: Mutex<Option<(Keeper, Instant)>>,
    live: Mutex<Option<Live>>,
    retry: Mutex<Option<Instant>>,
}

/// What is kept behind a lock here is whole at any time.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    pub(super) fn new(redis: Option<RedisBuckets>) -> Self {
        Self {
            in_process: AtomicBool::new(false),
            own: Mutex::default(),
            redis,
            known: Mutex::default(),
            live: Mutex::default(),
            retry: Mutex::default(),
        }
    }

    /// Nobody else makes calls: a simulation.
    pub fn keep_in_process(&self) {
        self.in_process.store(true, Ordering::Relaxed);
    }

    pub(super) async fn take(
        &self,
        inner: &Inner,
        wishes: &[Wish],
        now_us: i64,
    ) -> Result<HashMap<ConnectionId, Lease>, EngineError> {
        if self.in_process.load(Ordering::Relaxed) {
            let mut own = locked(&self.own);
            let mut one = |wish: &Wish| {
                let bucket = own.entry(wish.connection).or_default();
                (wish.connection, bucket.take(wish.pace, now_us, wish.want))
            };
            return Ok(wishes.iter().map(&mut one).collect());
        }
        let mut conn = inner.conn().await?;
        for _ in 0..ROUNDS {
            let keeper = self.keeper(&mut conn, now_us).await?;
            if keeper.redis_run.is_none() {
                let leases = limits::take(&mut conn, wishes, now_us).await?;
                if leases.len() < wishes.len() {
                    // Connections that are gone, or Redis keeps the buckets by now.
                    self.forget();
                }
                if !leases.is_empty() {
                    return Ok(leases);
                }
            } else if let Some(leases) = self.ask_redis(&mut conn, &keeper, wishes, now_us).await? {
                return Ok(leases);
            }
        }
        Ok(HashMap::new())
    }

    pub(super) async fn refused(
        &self,
        inner: &Inner,
        tenant: TenantId,
        connection: ConnectionId,
        pace: Pace,
        now_us: i64,
        quiet_us: i64,
    ) -> Result<(), EngineError> {
        if self.in_process.load(Ordering::Relaxed) {
            let mut own = locked(&self.own);
            own.entry(connection).or_default().refused(pace, now_us, quiet_us);
            return Ok(());
        }
        let mut conn = inner.conn().await?;
        // The database knows it in any case: it hands its buckets over and takes them back.
        limits::refused(&mut conn, tenant, connection, pace, now_us, quiet_us).await?;
        let keeper = self.keeper(&mut conn, now_us).await?;
        let Some(run) = &keeper.redis_run else {
            return Ok(());
        };
        let told = async {
            let live = self.live(run).await?;
            live.refused(&keeper, connection, pace, now_us, quiet_us).await
        };
        if let Err(why) = told.await {
            self.leave(&mut conn, &keeper, &why, now_us).await?;
        }
        Ok(())
    }

    /// Who keeps the buckets, read a second ago at most; where it may be Redis again, this node sees to it.
    async fn keeper(&self, conn: &mut Conn, now_us: i64) -> Result<Keeper, EngineError> {
        let known = locked(&self.known).clone();
        if let Some((keeper, read)) = known
            && read.elapsed() < TRUSTED
        {
            return Ok(keeper);
        }
        // From before the question: what is changed while it is answered is newer.
        let asked = Instant::now();
        let mut keeper = limits::keeper(conn).await?;
        if keeper.redis_run.is_none()
            && keeper.back_us <= now_us
            && let Some(redis) = &self.redis
            && self.may_try(asked)
        {
            match Self::begin(conn, redis, &keeper, now_us).await? {
                Ok(live) => {
                    *locked(&self.live) = Some(live);
                    keeper = limits::keeper(conn).await?;
                }
                Err(why) => {
                    tracing::warn!(%why, "rate limits stay in the database");
                    *locked(&self.retry) = Some(asked + RETRY);
                }
            }
        }
        *locked(&self.known) = Some((keeper.clone(), asked));
        Ok(keeper)
    }

    fn may_try(&self, now: Instant) -> bool {
        locked(&self.retry).is_none_or(|at| at <= now)
    }

    /// Lets Redis keep the buckets. Another node may do so at the same time; one of both wins.
    async fn begin(
        conn: &mut Conn,
        redis: &RedisBuckets,
        keeper: &Keeper,
        now_us: i64,
    ) -> Result<Result<Live, RedisFailure>, EngineError> {
        let marked = async {
            let live = redis.connect().await?;
            let next = Keeper {
                redis_run: Some(live.run().to_owned()),
                epoch: keeper.epoch + 1,
                since_us: now_us,
                ..keeper.clone()
            };
            live.begin(&next).await?;
            Ok::<_, RedisFailure>((live, next))
        };
        let (live, next) = match marked.await {
            Ok(marked) => marked,
            Err(why) => return Ok(Err(why)),
        };
        if limits::to_redis(conn, &next).await? {
            tracing::info!(epoch = next.epoch, "Redis keeps the buckets of rate limits");
            metrics::counter!("tidings_limit_store_changes_total", "to" => "redis").increment(1);
        }
        Ok(Ok(live))
    }

    /// Slots from Redis; nothing when the database took over.
    async fn ask_redis(
        &self,
        conn: &mut Conn,
        keeper: &Keeper,
        wishes: &[Wish],
        now_us: i64,
    ) -> Result<Option<HashMap<ConnectionId, Lease>>, EngineError> {
        let Some(run) = &keeper.redis_run else {
            return Ok(None);
        };
        let first = async {
            let live = self.live(run).await?;
            let taken = live.take(keeper, wishes, &HashMap::new(), now_us).await?;
            Ok::<_, RedisFailure>((live, taken))
        };
        let (live, mut taken) = match first.await {
            Ok(taken) => taken,
            Err(why) => {
                self.leave(conn, keeper, &why, now_us).await?;
                return Ok(None);
            }
        };
        if !taken.missing.is_empty() {
            let handed = limits::hand_over(conn, &taken.missing, keeper.epoch).await?;
            let pace =
                |id: &ConnectionId| Some(taken.missing.iter().find(|wish| wish.connection == *id)?.pace);
            let ready = handed.iter().filter_map(|(id, handed)| {
                if handed.fresh {
                    return Some((*id, handed.bucket));
                }
                // One that Redis had and dropped may have given out slots until now.
                let since_us = if handed.first { keeper.since_us } else { now_us };
                Some((*id, handed.bucket.handed_over(pace(id)?, since_us)))
            });
            let ready: HashMap<ConnectionId, Bucket> = ready.collect();
            match live.take(keeper, &taken.missing, &ready, now_us).await {
                Ok(more) => taken.leases.extend(more.leases),
                Err(why) => {
                    // What was taken before is taken.
                    self.leave(conn, keeper, &why, now_us).await?;
                }
            }
        }
        Ok(Some(taken.leases))
    }

    /// The connection to the run that keeps the buckets.
    async fn live(&self, run: &str) -> Result<Live, RedisFailure> {
        let held = locked(&self.live).clone();
        let live = if let Some(live) = held {
            live
        } else if let Some(redis) = &self.redis {
            redis.connect().await?
        } else {
            let apart = "this node has no REDIS_URL, and others have".to_owned();
            return Err(RedisFailure::Unreachable(apart));
        };
        if live.run() != run {
            *locked(&self.live) = None;
            return Err(RedisFailure::Lost("it was started again, or is another one"));
        }
        *locked(&self.live) = Some(live.clone());
        Ok(live)
    }

    /// The database takes over.
    async fn leave(
        &self,
        conn: &mut Conn,
        keeper: &Keeper,
        why: &RedisFailure,
        now_us: i64,
    ) -> Result<(), EngineError> {
        *locked(&self.live) = None;
        self.forget();
        let pause = if self.redis.is_some() { BACK_US } else { APART_US };
        let back_us = now_us.saturating_add(pause);
        if limits::to_database(conn, keeper.epoch, now_us, back_us).await? {
            tracing::warn!(%why, "the database keeps the buckets of rate limits from now on");
            metrics::counter!("tidings_limit_store_changes_total", "to" => "postgres").increment(1);
        }
        Ok(())
    }

    /// Reads the keeper anew the next time.
    fn forget(&self) {
        *locked(&self.known) = None;
    }
}
