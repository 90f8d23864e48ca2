//! The routes of the API, read from the router's source: one that is added there is in every test over all routes.

/// The router.
const ROUTER: &str = include_str!("../../../src/http/router.rs");

/// The methods a route can have.
const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

/// Who may call a route: which of the router's functions it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever has a team's key.
    Team,
    /// Whoever has any key.
    Keyed,
    /// Whoever has an operator's key.
    Operator,
}

/// The router's functions. One that is not here fails the tests.
const FUNCTIONS: [(&str, Access); 5] = [
    ("public", Access::Public),
    ("team", Access::Team),
    ("sandbox0", Access::Team),
    ("keyed", Access::Keyed),
    ("operators", Access::Operator),
];

/// One method of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub method: String,
    pub path: String,
    pub access: Access,
}

impl Route {
    /// `GET /v1/sandboxes`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Every route that needs a key, and those that need none.
pub fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    for function in ROUTER.split("\nfn ").skip(1) {
        let name = function.split(['(', '<']).next().unwrap();
        let written = written(function);
        let access = FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, access)| *access);
        assert!(
            access.is_some() || written.is_empty(),
            "`fn {name}` of the router has routes: say in FUNCTIONS who may call them"
        );
        routes.extend(
            written.into_iter().filter_map(|(method, path)| Some(Route { method, path, access: access? })),
        );
    }
    assert!(routes.len() > 10, "the router is no longer written as this reads it: {routes:#?}");
    routes
}

/// Every `.route("path", get(…).post(…))` in a piece of source.
fn written(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for call in source.split(".route(").skip(1) {
        let call = &call[..closing(call)];
        let path = call.split('"').nth(1).expect("a route is written with its path");
        let handlers = call.split('"').nth(2).unwrap();
        let methods: Vec<_> =
            METHODS.iter().filter(|method| handlers.contains(&format!("{method}("))).collect();
        assert!(!methods.is_empty(), "no method of {path} is known here: {handlers}");
        found.extend(methods.iter().map(|method| (method.to_uppercase(), path.to_owned())));
    }
    found
}

/// Where the parenthesis that is open at the start is closed.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    let end = text.char_indices().find(|(_, character)| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.expect("parentheses match").0
}

#[test]
fn routes_are_read_as_they_are_written() {
    let source = "router()\n.route(\"/a/{id}\", get(a::get).delete(a::delete))\n\
                  .route(\n    \"/b\",\n    post(b::make)\n)\n.route(\"/c\", get(|| x()))";
    let expect = [("GET", "/a/{id}"), ("DELETE", "/a/{id}"), ("POST", "/b"), ("GET", "/c")];
    let expect: Vec<_> = expect.iter().map(|(m, p)| (m.to_string(), p.to_string())).collect();
    assert_eq!(written(source), expect);
}

/// A route that is written elsewhere would be in no test.
#[test]
fn routes_are_written_in_the_router_alone() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("http/router.rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let routed =
                    [".route(", ".nest(", ".route_service("].iter().any(|call| source.contains(call));
                assert!(!routed, "{} has routes: write them in http/router.rs", path.display());
            }
        }
    }
    for hidden in [".nest(", ".route_service(", ".nest_service(", "any("] {
        assert!(!ROUTER.contains(hidden), "the tests cannot read `{hidden}` in the router");
    }
}
