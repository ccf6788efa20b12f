//! Which handler serves which request code, on which pool: the map of a server.

use std::fmt;
use std::sync::Arc;

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::table::{CommandSpec, Header};

use crate::admission::Admission;
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
    admission: Option<Arc<dyn Admission>>,
}

/// A pool, and who decides on its requests.
pub(crate) struct AdmittingPool {
    pub(crate) pool: Arc<Pool>,
    pub(crate) admission: Option<Arc<dyn Admission>>,
}

impl Routes {
    /// Begins a map whose handlers share `state`.
    pub fn builder<S: Send + Sync + 'static>(state: Arc<S>) -> RoutesBuilder<S> {
        RoutesBuilder {
            state,
            rows: Vec::new(),
            otherwise: None,
            admissions: Vec::new(),
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
        let admission = route.admission.as_ref();
        match admission.and_then(|admission| admission.refuses_new()) {
            Some(cause) => Err(Refusal::rejected(&cause)),
            None => Ok(route),
        }
    }

    /// The pools of all rows, each once.
    pub(crate) fn pools(&self) -> Vec<AdmittingPool> {
        let mut pools: Vec<AdmittingPool> = Vec::new();
        for route in self.by_code.values().chain(&self.otherwise) {
            if !pools
                .iter()
                .any(|known| Arc::ptr_eq(&known.pool, &route.pool))
            {
                pools.push(AdmittingPool {
                    pool: Arc::clone(&route.pool),
                    admission: route.admission.clone(),
                });
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

struct Admitting {
    pool: Arc<Pool>,
    admission: Arc<dyn Admission>,
}

/// A map in the making. Of two rows with one code the later stands.
pub struct RoutesBuilder<S> {
    state: Arc<S>,
    rows: Vec<Row>,
    otherwise: Option<Row>,
    admissions: Vec<Admitting>,
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
        self,
        pool: &Arc<Pool>,
        handler: impl Fn(&S, Incoming<C::Request>, Responder) + Send + Sync + 'static,
    ) -> Self {
        self.parked(C::CODE, pool, handler)
    }

    /// The same, for a handler that reads the header itself, where the command has it.
    pub fn on_unread<C: CommandSpec>(
        self,
        pool: &Arc<Pool>,
        handler: impl Fn(&S, Incoming<()>, Responder) + Send + Sync + 'static,
    ) -> Self {
        self.parked(C::CODE, pool, handler)
    }

    fn parked<H: Header>(
        mut self,
        code: i32,
        pool: &Arc<Pool>,
        handler: impl Fn(&S, Incoming<H>, Responder) + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::clone(&self.state);
        let run: Run = Box::new(
            move |request, responder| match incoming(request, &responder) {
                Ok(incoming) => handler(&state, incoming, responder),
                Err(refusal) => responder.refuse(refusal),
            },
        );
        self.rows.push(Row::new(code, pool, run));
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

    /// `admission` decides on the requests of this pool, in place of [`Pool::set_wait_ms_max`].
    pub fn admitted_by(mut self, pool: &Arc<Pool>, admission: Arc<dyn Admission>) -> Self {
        self.admissions.push(Admitting {
            pool: Arc::clone(pool),
            admission,
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
            admissions,
            hooks,
            state: _,
        } = self;
        let finish = |row: Row| row.into_route(&admissions, &hooks);
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

    fn into_route(self, admissions: &[Admitting], hooks: &Hooks) -> Route {
        let admitting = admissions
            .iter()
            .find(|admitting| Arc::ptr_eq(&admitting.pool, &self.pool));
        Route {
            admission: admitting.map(|admitting| Arc::clone(&admitting.admission)),
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
