//! The embedded sample: a project API as a small team would write it, slow on purpose, all in memory.
//!
//! Invariant: it knows nothing of Larder and sends no cache fields, like most APIs; it counts the requests that reach
//! it. State is bounded and begins the same each time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_DISPOSITION, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::demo::projects::{Data, Draft, Project, Status};

/// Whether answers take as long as the routes say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Latency {
    /// As a backend that asks its database.
    #[default]
    Artificial,
    /// None, for tests.
    Off,
}

/// The running sample API; it stops when dropped.
#[derive(Debug)]
pub struct Sample {
    address: SocketAddr,
    project: Arc<ProjectApi>,
    task: JoinHandle<()>,
}

impl Sample {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have reached it.
    pub fn requests(&self) -> u64 {
        self.project.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the sample API on `listener`.
///
/// # Errors
/// If the listener has no address.
pub fn serve(listener: TcpListener, latency: Latency) -> std::io::Result<Sample> {
    let address = listener.local_addr()?;
    let project =
        Arc::new(ProjectApi { requests: AtomicU64::new(0), latency, data: Mutex::new(Data::sample()) });
    let router = router(&project);
    let task = tokio::spawn(async move {
        // It never returns: a failing accept is tried again.
        let _ended = axum::serve(listener, router).await;
    });
    Ok(Sample { address, project, task })
}

#[derive(Debug)]
struct ProjectApi {
    requests: AtomicU64,
    latency: Latency,
    data: Mutex<Data>,
}

type Api = State<Arc<ProjectApi>>;
type Body<T> = Result<Json<T>, JsonRejection>;
/// What an endpoint answers, or the error as FastAPI words it.
type Answer<T> = Result<T, Detail>;

fn router(project: &Arc<ProjectApi>) -> Router {
    let routes: [(&str, MethodRouter<Arc<ProjectApi>>, u64); 12] = [
        ("/api/projects", get(list), 240),
        ("/api/projects", post(create), 60),
        ("/api/projects/{id}", get(detail), 120),
        ("/api/projects/{id}", put(replace).patch(change).delete(remove), 60),
        ("/api/projects/{id}/export", get(export), 600),
        ("/api/projects/{id}/classifications", post(classify), 60),
        ("/api/dashboard", get(dashboard), 400),
        ("/api/stats", get(stats), 500),
        ("/api/search", get(search), 300),
        ("/api/jobs", post(start_job), 60),
        ("/api/jobs/{id}", get(job), 80),
        ("/health", get(async || Json(json!({ "status": "ok" }))), 0),
    ];
    let add = |router: Router<Arc<ProjectApi>>, (path, methods, millis): (&str, MethodRouter<_>, _)| {
        let state = (Arc::clone(project), Duration::from_millis(millis));
        router.route(path, methods.layer(middleware::from_fn_with_state(state, take_time)))
    };
    routes
        .into_iter()
        .fold(Router::new(), add)
        .fallback(async || Detail(StatusCode::NOT_FOUND, "Not Found".into()))
        .with_state(Arc::clone(project))
}

/// Counts the request, takes the route's time and says so in `X-Process-Time` (seconds), as FastAPI's manual does.
async fn take_time(
    State((project, time)): State<(Arc<ProjectApi>, Duration)>,
    request: Request,
    next: Next,
) -> Response {
    project.requests.fetch_add(1, Ordering::Relaxed);
    if project.latency == Latency::Artificial {
        tokio::time::sleep(time).await;
    }
    let mut response = next.run(request).await;
    let seconds = HeaderValue::try_from(format!("{:.3}", time.as_secs_f64()));
    response.headers_mut().insert("x-process-time", seconds.expect("digits are a field value"));
    response
}

#[derive(Deserialize)]
#[serde(default)]
struct Page {
    page: usize,
    size: usize,
    q: String,
}

impl Default for Page {
    fn default() -> Self {
        Self { page: 1, size: 20, q: String::new() }
    }
}

async fn list(State(api): Api, query: Result<Query<Page>, QueryRejection>) -> Answer<Json<Value>> {
    let Query(Page { page, size, q }) = query?;
    let (page, size) = (page.max(1), size.clamp(1, 100));
    let data = api.data();
    let found: Vec<&Project> = data.named(&q).collect();
    let items: Vec<_> = found.iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    Ok(Json(json!({ "items": items, "page": page, "size": size, "total": found.len() })))
}

async fn detail(State(api): Api, Path(id): Path<u64>) -> Answer<Json<Project>> {
    api.data().project(id).map(Json).ok_or_else(no_project)
}

async fn create(State(api): Api, draft: Body<Draft>) -> Answer<Response> {
    let full = || Detail(StatusCode::CONFLICT, "The sample is full".into());
    let project = api.data().create(draft?.0).ok_or_else(full)?;
    let location = [(LOCATION, format!("/api/projects/{}", project.id))];
    Ok((StatusCode::CREATED, location, Json(project)).into_response())
}

async fn replace(State(api): Api, Path(id): Path<u64>, draft: Body<Draft>) -> Answer<Json<Project>> {
    let Json(Draft { name, status, owner, budget }) = draft?;
    let replace =
        |project: &mut Project| *project = Project { name, status, owner, budget, ..project.clone() };
    api.data().change(id, replace).map(Json).ok_or_else(no_project)
}

#[derive(Deserialize)]
struct Patch {
    name: Option<String>,
    status: Option<Status>,
    owner: Option<String>,
    budget: Option<u32>,
}

async fn change(State(api): Api, Path(id): Path<u64>, patch: Body<Patch>) -> Answer<Json<Project>> {
    let Json(Patch { name, status, owner, budget }) = patch?;
    let change = |project: &mut Project| {
        project.name = name.unwrap_or(std::mem::take(&mut project.name));
        project.status = status.unwrap_or(project.status);
        project.owner = owner.unwrap_or(std::mem::take(&mut project.owner));
        project.budget = budget.unwrap_or(project.budget);
    };
    api.data().change(id, change).map(Json).ok_or_else(no_project)
}

async fn remove(State(api): Api, Path(id): Path<u64>) -> Answer<StatusCode> {
    api.data().remove(id).map(|_project| StatusCode::NO_CONTENT).ok_or_else(no_project)
}

async fn export(State(api): Api, Path(id): Path<u64>) -> Answer<Response> {
    let project = api.data().project(id).ok_or_else(no_project)?;
    let tasks: Vec<Value> = (1..=200_u64)
        .map(|n| json!({ "id": n, "title": format!("{} task {n}", project.name), "hours": n % 13 }))
        .collect();
    let name = [(CONTENT_DISPOSITION, format!("attachment; filename=\"project-{id}.json\""))];
    Ok((name, Json(json!({ "project": project, "tasks": tasks }))).into_response())
}

#[derive(Deserialize)]
struct Classification {
    label: String,
}

async fn classify(
    State(api): Api,
    Path(id): Path<u64>,
    body: Body<Classification>,
) -> Answer<(StatusCode, Json<Project>)> {
    let Json(Classification { label }) = body?;
    let classify = |project: &mut Project| {
        project.classifications.retain(|known| *known != label);
        project.classifications.push(label);
    };
    let project = api.data().change(id, classify).ok_or_else(no_project)?;
    Ok((StatusCode::CREATED, Json(project)))
}

/// The bearer token is the user's name: enough for a sample.
async fn dashboard(State(api): Api, headers: HeaderMap) -> Answer<Json<Value>> {
    let credential = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = credential
        .and_then(|credential| credential.strip_prefix("Bearer "))
        .ok_or_else(|| Detail(StatusCode::UNAUTHORIZED, "Not authenticated".into()))?;
    let data = api.data();
    let own: Vec<_> = data.projects().filter(|project| project.owner == user).collect();
    let budget: u64 = own.iter().map(|project| u64::from(project.budget)).sum();
    Ok(Json(json!({ "user": user, "projects": own, "budget": budget })))
}

async fn stats(State(api): Api) -> Json<Value> {
    let data = api.data();
    let count = |status| data.projects().filter(|project| project.status == status).count();
    Json(json!({
        "projects": data.projects().count(),
        "planned": count(Status::Planned), "active": count(Status::Active), "done": count(Status::Done),
        "budget": data.projects().map(|project| u64::from(project.budget)).sum::<u64>(),
    }))
}

async fn search(State(api): Api, query: Result<Query<Page>, QueryRejection>) -> Answer<Json<Value>> {
    let Query(Page { q, .. }) = query?;
    let data = api.data();
    let hits: Vec<_> =
        data.named(&q).map(|project| json!({ "id": project.id, "name": project.name })).collect();
    Ok(Json(json!({ "q": q, "hits": hits })))
}

async fn start_job(State(api): Api) -> Response {
    let id = api.data().start_job();
    let location = [(LOCATION, format!("/api/jobs/{id}"))];
    (StatusCode::ACCEPTED, location, Json(json!({ "id": id, "status": "queued" }))).into_response()
}

async fn job(State(api): Api, Path(id): Path<u64>) -> Answer<Json<Value>> {
    let missing = || Detail(StatusCode::NOT_FOUND, "Job not found".into());
    let answer = match api.data().poll_job(id).ok_or_else(missing)? {
        100 => json!({ "id": id, "status": "done", "progress": 100, "result": { "rows": 1200 + id } }),
        progress => json!({ "id": id, "status": "running", "progress": progress }),
    };
    Ok(Json(answer))
}

/// An error in FastAPI's form: `{"detail": "…"}`.
#[derive(Debug)]
struct Detail(StatusCode, String);

impl IntoResponse for Detail {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "detail": self.1 }))).into_response()
    }
}

impl From<JsonRejection> for Detail {
    fn from(rejection: JsonRejection) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, rejection.body_text())
    }
}

impl From<QueryRejection> for Detail {
    fn from(rejection: QueryRejection) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, rejection.body_text())
    }
}

fn no_project() -> Detail {
    Detail(StatusCode::NOT_FOUND, "Project not found".into())
}

impl ProjectApi {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::{Answer as Got, Ask, Client};
    use crate::cli::demo::projects::{MAX_JOBS, POLLS_UNTIL_DONE};
    use crate::clock::Clock;
    use axum::http::Method;

    async fn sample() -> Sample {
        serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), Latency::Off).unwrap()
    }

    async fn ask(sample: &Sample, ask: Ask<'_>) -> Got {
        Client::connect(sample.address(), Clock::system()).await.unwrap().send(ask).await.unwrap()
    }

    #[tokio::test]
    async fn a_list_is_paged_and_searched() {
        let sample = sample().await;
        let page = ask(&sample, Ask::get("/api/projects?page=2&size=5")).await;
        assert_eq!(page.member("total"), 120);
        assert_eq!(page.member("items")[0]["id"], 6);
        assert_eq!(page.member("items").as_array().unwrap().len(), 5);
        let beyond = ask(&sample, Ask::get("/api/projects?page=18446744073709551615&size=100")).await;
        assert_eq!(beyond.member("items"), json!([]));
        let found = ask(&sample, Ask::get("/api/search?q=AUDIT")).await;
        assert!(
            found
                .member("hits")
                .as_array()
                .unwrap()
                .iter()
                .all(|hit| hit["name"].as_str().unwrap().ends_with("Audit"))
        );
        assert_eq!(ask(&sample, Ask::get("/api/projects?page=x")).await.status, 422);
    }

    #[tokio::test]
    async fn a_project_is_created_changed_classified_and_removed() {
        let sample = sample().await;
        let write = |method, path, json| Ask { method, json, ..Ask::get(path) };
        let created = ask(&sample, write(&Method::POST, "/api/projects", Some(r#"{"name": "New"}"#))).await;
        assert_eq!((created.status.as_u16(), created.field("location")), (201, "/api/projects/121"));
        let path = "/api/projects/121";
        let patched = ask(&sample, write(&Method::PATCH, path, Some(r#"{"budget": 7}"#))).await;
        assert_eq!((patched.member("name"), patched.member("budget")), ("New".into(), 7.into()));
        let replaced =
            ask(&sample, write(&Method::PUT, path, Some(r#"{"name": "Other", "status": "done"}"#))).await;
        assert_eq!((replaced.member("name"), replaced.member("revision")), ("Other".into(), 3.into()));
        let label = Some(r#"{"label": "secret"}"#);
        let classified = ask(&sample, write(&Method::POST, "/api/projects/121/classifications", label)).await;
        assert_eq!(classified.member("classifications"), json!(["secret"]));
        assert_eq!(ask(&sample, Ask::get("/api/stats")).await.member("projects"), 121);
        assert_eq!(ask(&sample, write(&Method::DELETE, path, None)).await.status, 204);
        let gone = ask(&sample, Ask::get(path)).await;
        assert_eq!((gone.status.as_u16(), gone.member("detail")), (404, "Project not found".into()));
        assert_eq!(ask(&sample, write(&Method::PUT, path, Some("{}"))).await.status, 422);
    }

    #[tokio::test]
    async fn a_job_runs_for_some_polls_and_is_done() {
        let sample = sample().await;
        let started = ask(&sample, Ask { method: &Method::POST, ..Ask::get("/api/jobs") }).await;
        assert_eq!(started.status, 202);
        let mut states = Vec::new();
        for _ in 0..POLLS_UNTIL_DONE + 2 {
            states.push(ask(&sample, Ask::get(started.field("location"))).await.member("status"));
        }
        assert_eq!(states, ["running", "running", "done", "done"]);
        assert_eq!(ask(&sample, Ask::get("/api/jobs/99")).await.status, 404);
    }

    #[tokio::test]
    async fn a_dashboard_belongs_to_the_credential() {
        let sample = sample().await;
        let field = Some(("authorization", "Bearer grace"));
        let own = ask(&sample, Ask { field, ..Ask::get("/api/dashboard") }).await;
        assert_eq!(own.member("user"), "grace");
        assert!(own.member("projects").as_array().unwrap().iter().all(|project| project["owner"] == "grace"));
        assert_eq!(ask(&sample, Ask::get("/api/dashboard")).await.status, 401);
    }

    #[tokio::test]
    async fn state_is_bounded_and_requests_are_counted() {
        let sample = sample().await;
        let mut client = Client::connect(sample.address(), Clock::system()).await.unwrap();
        for _ in 0..=MAX_JOBS {
            client.send(Ask { method: &Method::POST, ..Ask::get("/api/jobs") }).await.unwrap();
        }
        assert_eq!(client.send(Ask::get("/api/jobs/1")).await.unwrap().status, 404);
        assert_eq!(client.send(Ask::get("/api/jobs/2")).await.unwrap().status, 200);
        assert_eq!(sample.requests(), MAX_JOBS as u64 + 3);
    }
}
