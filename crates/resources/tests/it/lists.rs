//! Lists and their pages.

use custody_names::ResourceId;
use custody_resources::{Registry, Verb};
use custody_test_world::control_plane::{Anybody, ControlPlane, SUBSCRIPTION};
use serde_json::json;

use crate::kinds::{Box, Group, Subscription, Toy, box_path, control_plane, group};

#[test]
fn lists_hold_children_of_the_parent_and_all_below_what_lies_higher() {
    let plane = control_plane();
    for name in ["b", "a"] {
        plane.put(&box_path(name), json!({ "location": "here" })).unwrap();
        plane.put(&format!("{}/toys/{name}1", box_path(name)), json!({})).unwrap();
    }
    let check = |place: &str, kind: &str, expected: &[&str]| {
        assert_eq!(plane.list(place, kind).unwrap(), expected, "{kind} of {place}");
    };
    check(&group(), "Toy.Shop/boxes", &["a", "b"]);
    check(&group(), "toy.shop/BOXES", &["a", "b"]);
    check(SUBSCRIPTION, "Toy.Shop/boxes", &["a", "b"]);
    check(&box_path("a"), "Toy.Shop/boxes/toys", &["a1"]);
    check(SUBSCRIPTION, "Toy.Shop/boxes/toys", &["a1", "b1"]);
    check("/", "Microsoft.Resources/subscriptions", &[&SUBSCRIPTION[15..]]);
    check(SUBSCRIPTION, "Microsoft.Resources/subscriptions/resourceGroups", &["Group"]);
    check(&box_path("absent"), "Toy.Shop/boxes/toys", &[]);
}

#[test]
fn long_lists_come_in_pages() {
    let plane = ControlPlane::new(
        Registry::new().with::<Subscription>().with::<Group>().with::<Box>().with::<Toy>(),
        Anybody,
    );
    plane.put(SUBSCRIPTION, json!({})).unwrap();
    for number in 0..1_001 {
        plane.put(&format!("{SUBSCRIPTION}/resourceGroups/g{number:04}"), json!({})).unwrap();
    }
    let page = |skip: Option<u64>| {
        let mut request = plane.request(Verb::List, SUBSCRIPTION, json!({}));
        request.id = SUBSCRIPTION.parse::<ResourceId>().unwrap();
        request.listed = Some("Microsoft.Resources/subscriptions/resourceGroups".to_owned());
        request.body = skip.map_or_else(|| json!({}), |skip| json!({ "$skip": skip }));
        plane.send(&request).unwrap().body.unwrap()
    };
    let first = page(None);
    assert_eq!(first["value"].as_array().unwrap().len(), 1_000);
    let second = page(first["$skip"].as_u64());
    assert_eq!(second["value"][0]["name"], "g1000");
    assert_eq!(second.get("$skip"), None);
}
