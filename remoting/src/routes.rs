//! Which handler serves which request code, on which pool: the map of a server.

use std::fmt;
use std::sync::Arc;

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::table::{CommandSpec, Header};

use crate::hooks::Hooks;
use crate::integer_hash::IntegerMap;
use crate::pool::{Handling, Pool, Request};
use crate::refusal::Refusal;
use crate::reply::{Handled, Incoming, Responder};

/// The finished map. Cheap to share; a server and a client may serve the same.
#[derive(Clone)]
pub struct Routes {
    by_code: IntegerMap<i32, Route>,
    otherwise: Option<Route>,
}

#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) pool: Arc<Pool>,
    pub(crate) handling: Arc<Handling>,
    reject: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Routes {
    /// Begins a map whose handlers share `state`.
    pub fn builder<S: Send + Sync + 'static>(state: Arc<S>) -> RoutesBuilder<S> {
        RoutesBuilder {
            state,
            rows: Vec::new(),
            otherwise: None,
            rejects: Vec::new(),
            hooks: Hooks::default(),
        }
    }

    /// The same map less the row of command `C`.
    pub fn without<C: CommandSpec>(&self) -> Arc<Self> {
        let mut less = self.clone();
        less.by_code.remove(&C::CODE);
        Arc::new(less)
    }

    /// The route of a code, or the refusal that a request of that code gets now.
    pub(crate) fn find(&self, code: i32) -> Result<&Route, Refusal> {
        let Some(route) = self.by_code.get(&code).or(self.otherwise.as_ref()) else {
            return Err(Refusal::not_supported(code));
        };
        if route
            .reject
            .as_ref()
            .is_some_and(|is_rejecting| is_rejecting())
        {
            let remark = "[REJECTREQUEST]system busy, start flow control for a while";
            return Err(Refusal::busy(remark));
        }
        Ok(route)
    }

    /// The pools of all rows, each once.
    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        let mut pools: Vec<Arc<Pool>> = Vec::new();
        for route in self.by_code.values().chain(&self.otherwise) {
            if !pools.iter().any(|pool| Arc::ptr_eq(pool, &route.pool)) {
                pools.push(Arc::clone(&route.pool));
            }
        }
        pools
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut codes: Vec<_> = self.by_code.keys().collect();
        codes.sort_unstable();
        f.debug_struct("Routes")
            .field("codes", &codes)
            .field("has_otherwise", &self.otherwise.is_some())
            .finish()
    }
}

type Run = Box<dyn Fn(Request, Responder) + Send + Sync>;

struct Row {
    code: i32,
    pool: Arc<Pool>,
    run: Run,
}

struct Reject {
    pool: Arc<Pool>,
    when: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// A map in the making. Of two rows with one code the later stands.
pub struct RoutesBuilder<S> {
    state: Arc<S>,
    rows: Vec<Row>,
    otherwise: Option<Row>,
    rejects: Vec<Reject>,
    hooks: Hooks,
}

impl<S: Send + Sync + 'static> RoutesBuilder<S> {
    /// Requests of command `C` are answered with what `handler` returns.
    pub fn on<C: CommandSpec>(
        mut self,
        pool: &Arc<Pool>,
        handler: impl Fn(&S, Incoming<C::Request>) -> Handled<C::Response> + Send + Sync + 'static,
    ) -> Self {
        let run = answering(Arc::clone(&self.state), handler);
        self.rows.push(Row::new(C::CODE, pool, run));
        self
    }

    /// Requests of command `C` are answered whenever `handler`, or who it gives the responder to,
    /// uses the responder.
    pub fn on_parked<C: CommandSpec>(
        mut self,
        pool: &Arc<Pool>,
        handler: impl Fn(&S, Incoming<C::Request>, Responder) + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::clone(&self.state);
        let run: Run = Box::new(
            move |request, responder| match incoming(request, &responder) {
                Ok(incoming) => handler(&state, incoming, responder),
                Err(refusal) => responder.refuse(refusal),
            },
        );
        self.rows.push(Row::new(C::CODE, pool, run));
        self
    }

    /// Requests of all other codes; without this they get code 3.
    pub fn otherwise(
        mut self,
        pool: &Arc<Pool>,
        handler: impl Fn(&S, Incoming<()>) -> Handled<()> + Send + Sync + 'static,
    ) -> Self {
        let run = answering(Arc::clone(&self.state), handler);
        self.otherwise = Some(Row::new(0, pool, run));
        self
    }

    /// While `when` holds, requests of this pool get `[REJECTREQUEST]…`, code 2, and are not queued.
    /// It is asked by I/O tasks for each request: it must be cheap.
    pub fn reject_when(
        mut self,
        pool: &Arc<Pool>,
        when: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rejects.push(Reject {
            pool: Arc::clone(pool),
            when: Arc::new(when),
        });
        self
    }

    /// Hooks around every request that is handled.
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// The finished map.
    pub fn build(self) -> Arc<Routes> {
        let Self {
            rows,
            otherwise,
            rejects,
            hooks,
            state: _,
        } = self;
        let finish = |row: Row| row.into_route(&rejects, &hooks);
        Arc::new(Routes {
            by_code: rows
                .into_iter()
                .map(|row| (row.code, finish(row)))
                .collect(),
            otherwise: otherwise.map(finish),
        })
    }
}

impl<S> fmt::Debug for RoutesBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutesBuilder")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl Row {
    fn new(code: i32, pool: &Arc<Pool>, run: Run) -> Self {
        Self {
            code,
            pool: Arc::clone(pool),
            run,
        }
    }

    fn into_route(self, rejects: &[Reject], hooks: &Hooks) -> Route {
        let reject = rejects.iter().find(|r| Arc::ptr_eq(&r.pool, &self.pool));
        Route {
            reject: reject.map(|reject| Arc::clone(&reject.when)),
            pool: self.pool,
            handling: Arc::new(Handling {
                run: self.run,
                hooks: hooks.clone(),
            }),
        }
    }
}

fn answering<S, H, R>(
    state: Arc<S>,
    handler: impl Fn(&S, Incoming<H>) -> Handled<R> + Send + Sync + 'static,
) -> Run
where
    S: Send + Sync + 'static,
    H: Header,
    R: Header,
{
    Box::new(move |request, responder| {
        let incoming = incoming(request, &responder);
        responder.send(incoming.and_then(|incoming| handler(&state, incoming)));
    })
}

fn incoming<H: Header>(request: Request, responder: &Responder) -> Result<Incoming<H>, Refusal> {
    let Request {
        command,
        received_ms,
    } = request;
    Ok(Incoming {
        header: header_of(&command)?,
        command,
        peer: responder.peer().clone(),
        received_ms,
    })
}

fn header_of<H: Header>(command: &Command) -> Result<H, Refusal> {
    command.header().map_err(Refusal::from)
}
