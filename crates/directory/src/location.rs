//! Where resources can lie: every public Azure region with its geography, and the places that an
//! installation adds.

use custody_names::Location;

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its normal form, `westeurope` for example.
    pub name: Location,
    /// What people call it.
    pub display_name: String,
    /// The geography that data stays in.
    pub geography: String,
    /// The group of geographies.
    pub geography_group: String,
    /// The region that it is paired with.
    pub paired_with: Option<&'static str>,
}

impl Region {
    /// A place of the installation's own: a geography by itself.
    pub fn own(name: Location) -> Self {
        let display_name = name.to_string();
        Self {
            geography: display_name.clone(),
            geography_group: "Custody".to_owned(),
            paired_with: None,
            display_name,
            name,
        }
    }
}

/// The places of an installation: its own first, then Azure's regions.
pub fn regions(own: &[Location]) -> Vec<Region> {
    let public: Vec<Region> = REGIONS.iter().filter_map(region).collect();
    let mut all: Vec<Region> = Vec::new();
    for name in own {
        if public.iter().chain(&all).all(|place| place.name != *name) {
            all.push(Region::own(name.clone()));
        }
    }
    all.extend(public);
    all
}

/// The geography of a location; one that is no Azure region is a geography by itself.
pub fn geography(location: &Location) -> &str {
    let found = REGIONS.iter().find(|(display, ..)| normal(display) == location.as_str());
    found.map_or(location.as_str(), |(_, geography, ..)| geography)
}

fn region(row: &Row) -> Option<Region> {
    let (display_name, geography, group, pair) = *row;
    Some(Region {
        name: display_name.parse().ok()?,
        display_name: display_name.to_owned(),
        geography: geography.to_owned(),
        geography_group: group.to_owned(),
        paired_with: Some(pair).filter(|pair| !pair.is_empty()),
    })
}

fn normal(display_name: &str) -> String {
    display_name.replace(' ', "").to_ascii_lowercase()
}

/// Display name, geography, group of geographies, paired region.
type Row = (&'static str, &'static str, &'static str, &'static str);

const US: &str = "United States";
const ASIA: &str = "Asia Pacific";
const EUROPE: &str = "Europe";
const REGIONS: &[Row] = &[
    ("East US", US, "US", "westus"),
    ("East US 2", US, "US", "centralus"),
    ("Central US", US, "US", "eastus2"),
    ("North Central US", US, "US", "southcentralus"),
    ("South Central US", US, "US", "northcentralus"),
    ("West Central US", US, "US", "westus2"),
    ("West US", US, "US", "eastus"),
    ("West US 2", US, "US", "westcentralus"),
    ("West US 3", US, "US", "eastus"),
    ("Canada Central", "Canada", "Canada", "canadaeast"),
    ("Canada East", "Canada", "Canada", "canadacentral"),
    ("Mexico Central", "Mexico", "Mexico", ""),
    ("Brazil South", "Brazil", "South America", "southcentralus"),
    ("Brazil Southeast", "Brazil", "South America", "brazilsouth"),
    ("Chile Central", "Chile", "South America", ""),
    ("North Europe", EUROPE, EUROPE, "westeurope"),
    ("West Europe", EUROPE, EUROPE, "northeurope"),
    ("Austria East", "Austria", EUROPE, ""),
    ("Belgium Central", "Belgium", EUROPE, ""),
    ("Denmark East", "Denmark", EUROPE, ""),
    ("France Central", "France", EUROPE, "francesouth"),
    ("France South", "France", EUROPE, "francecentral"),
    ("Germany North", "Germany", EUROPE, "germanywestcentral"),
    ("Germany West Central", "Germany", EUROPE, "germanynorth"),
    ("Italy North", "Italy", EUROPE, ""),
    ("Norway East", "Norway", EUROPE, "norwaywest"),
    ("Norway West", "Norway", EUROPE, "norwayeast"),
    ("Poland Central", "Poland", EUROPE, ""),
    ("Spain Central", "Spain", EUROPE, ""),
    ("Sweden Central", "Sweden", EUROPE, "swedensouth"),
    ("Sweden South", "Sweden", EUROPE, "swedencentral"),
    ("Switzerland North", "Switzerland", EUROPE, "switzerlandwest"),
    ("Switzerland West", "Switzerland", EUROPE, "switzerlandnorth"),
    ("UK South", "United Kingdom", "UK", "ukwest"),
    ("UK West", "United Kingdom", "UK", "uksouth"),
    ("Israel Central", "Israel", "Middle East", ""),
    ("Qatar Central", "Qatar", "Middle East", ""),
    ("UAE Central", "UAE", "Middle East", "uaenorth"),
    ("UAE North", "UAE", "Middle East", "uaecentral"),
    ("South Africa North", "South Africa", "Africa", "southafricawest"),
    ("South Africa West", "South Africa", "Africa", "southafricanorth"),
    ("Australia Central", "Australia", ASIA, "australiacentral2"),
    ("Australia Central 2", "Australia", ASIA, "australiacentral"),
    ("Australia East", "Australia", ASIA, "australiasoutheast"),
    ("Australia Southeast", "Australia", ASIA, "australiaeast"),
    ("Central India", "India", ASIA, "southindia"),
    ("South India", "India", ASIA, "centralindia"),
    ("West India", "India", ASIA, "southindia"),
    ("Jio India Central", "India", ASIA, "jioindiawest"),
    ("Jio India West", "India", ASIA, "jioindiacentral"),
    ("East Asia", ASIA, ASIA, "southeastasia"),
    ("Southeast Asia", ASIA, ASIA, "eastasia"),
    ("Indonesia Central", "Indonesia", ASIA, ""),
    ("Japan East", "Japan", ASIA, "japanwest"),
    ("Japan West", "Japan", ASIA, "japaneast"),
    ("Korea Central", "Korea", ASIA, "koreasouth"),
    ("Korea South", "Korea", ASIA, "koreacentral"),
    ("Malaysia West", "Malaysia", ASIA, ""),
    ("New Zealand North", "New Zealand", ASIA, ""),
    ("Taiwan North", "Taiwan", ASIA, ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_forms_and_own_places() {
        let own: Vec<Location> = ["local", "West Europe"].map(|name| name.parse().unwrap()).into();
        let all = regions(&own);
        assert_eq!(all.len(), REGIONS.len() + 1, "a region is no place of one's own");
        let check = |name: &str, geography: &str| {
            let location: Location = name.parse().unwrap();
            let place = all.iter().find(|place| place.name == location).unwrap();
            assert_eq!(place.geography, geography, "{name}");
            assert_eq!(super::geography(&location), geography, "{name}");
        };
        check("local", "local");
        check("West Europe", "Europe");
        check("westeurope", "Europe");
        check("EAST US 2", "United States");
        check("uaenorth", "UAE");
    }

    #[test]
    fn pairs_are_regions() {
        let all = regions(&[]);
        for place in &all {
            let Some(pair) = place.paired_with else { continue };
            assert!(all.iter().any(|other| other.name.as_str() == pair), "{}", place.name);
        }
    }
}
