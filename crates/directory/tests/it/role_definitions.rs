use custody_access::{OWNER, built_in_roles};
use custody_directory::{role_definition, role_definitions};
use custody_names::RoleDefinitionId;

#[test]
fn definitions_are_listed_found_by_name_and_by_guid() {
    let all = role_definitions(None);
    assert_eq!(all["value"].as_array().unwrap().len(), built_in_roles().len());
    let owner = role_definitions(Some("OWNER"))["value"][0].clone();
    assert_eq!(Some(&owner), role_definition(OWNER).as_ref());
    assert_eq!(owner["name"], "8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
    assert_eq!(owner["properties"]["roleName"], "Owner");
    assert_eq!(owner["properties"]["permissions"][0]["actions"][0], "*");
    assert!(role_definitions(Some("nobody"))["value"].as_array().unwrap().is_empty());
    assert_eq!(role_definition(RoleDefinitionId::from_bytes([0; 16])), None);
}
