//! Where resources can lie: every public Azure region with its geography, and the places that an
//! installation adds. One table says both where a place is and in which geography: backups of keys
//! are bound to that.

use custody_names::{InvalidName, Location};

/// Longest display name and geography of a place of one's own, in characters.
const TEXT_CHARACTERS_MAX: usize = 90;

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

/// Why something cannot be a place of one's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegion {
    /// No location is called so.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It is one of Azure's regions, whose geography is known.
    #[error("{0} is a region of Azure and known already")]
    Known(Location),
    /// A display name or geography is empty or too long.
    #[error("display name and geography have 1 to {TEXT_CHARACTERS_MAX} characters")]
    Text,
}

impl Region {
    /// A place of the installation's own: a geography by itself unless `geography` names one. Its
    /// name may be written as people write it (`My Region 1` is `myregion1`), and is the display
    /// name then.
    pub fn own(
        name: &str,
        display_name: Option<&str>,
        geography: Option<&str>,
    ) -> Result<Self, InvalidRegion> {
        let location: Location = name.parse()?;
        if REGIONS.iter().any(|(display, ..)| normal(display) == location.as_str()) {
            return Err(InvalidRegion::Known(location));
        }
        let display_name = display_name.unwrap_or(name).trim().to_owned();
        let geography = geography.unwrap_or(location.as_str()).trim().to_owned();
        let fits = |text: &str| (1..=TEXT_CHARACTERS_MAX).contains(&text.chars().count());
        if !fits(&display_name) || !fits(&geography) {
            return Err(InvalidRegion::Text);
        }
        Ok(Self {
            name: location,
            display_name,
            geography,
            geography_group: OWN.to_owned(),
            paired_with: None,
        })
    }

    /// Whether it is a place of an installation's own.
    pub fn is_own(&self) -> bool {
        self.geography_group == OWN
    }
}

/// The places of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locations(Vec<Region>);

impl Locations {
    /// Where the installation is and the places that it adds, then Azure's regions. Of two places
    /// of one name the first counts.
    pub fn new(installation: &Location, added: Vec<Region>) -> Self {
        let mut all: Vec<Region> = Vec::new();
        let home = Region::own(installation.as_str(), None, None).ok();
        for place in added.into_iter().chain(home).chain(REGIONS.iter().filter_map(region)) {
            if all.iter().all(|known| known.name != place.name) {
                all.push(place);
            }
        }
        Self(all)
    }

    /// All places.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }

    /// Their names.
    pub fn names(&self) -> Vec<Location> {
        self.iter().map(|place| place.name.clone()).collect()
    }

    /// The geography of a location; one that is no place any more is a geography by itself.
    pub fn geography<'a>(&'a self, location: &'a Location) -> &'a str {
        let found = self.iter().find(|place| place.name == *location);
        found.map_or(location.as_str(), |place| place.geography.as_str())
    }
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

/// The group of geographies of installations' own places.
const OWN: &str = "Custody";
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
        let added = Region::own("My Region 1", None, Some("Switzerland")).unwrap();
        let all = Locations::new(&"local".parse().unwrap(), vec![added.clone(), added]);
        assert_eq!(all.iter().count(), REGIONS.len() + 2, "a place is there once");
        let check = |name: &str, display_name: &str, geography: &str| {
            let location: Location = name.parse().unwrap();
            let place = all.iter().find(|place| place.name == location).unwrap();
            assert_eq!(place.display_name, display_name, "{name}");
            assert_eq!(place.geography, geography, "{name}");
            assert_eq!(all.geography(&location), geography, "{name}");
        };
        check("local", "local", "local");
        check("My Region 1", "My Region 1", "Switzerland");
        check("myregion1", "My Region 1", "Switzerland");
        check("West Europe", "West Europe", "Europe");
        check("EAST US 2", "East US 2", "United States");
        check("uaenorth", "UAE North", "UAE");
        assert_eq!(all.geography(&"gone".parse().unwrap()), "gone");
        let at_azure = Locations::new(&"westeurope".parse().unwrap(), Vec::new());
        assert_eq!(at_azure.iter().count(), REGIONS.len(), "a region is no place of one's own");
    }

    #[test]
    fn what_cannot_be_a_place_of_ones_own() {
        let long = "x".repeat(TEXT_CHARACTERS_MAX + 1);
        let check = |name: &str, display: Option<&str>, geography: Option<&str>, part: &str| {
            let error = Region::own(name, display, geography).unwrap_err().to_string();
            assert!(error.contains(part), "{name}: {error}");
        };
        check("West Europe", None, None, "known already");
        check("a/b", None, None, "location");
        check("", None, None, "location");
        check("home", Some(" "), None, "1 to 90");
        check("home", None, Some(&long), "1 to 90");
    }

    #[test]
    fn pairs_are_regions() {
        let all = Locations::new(&"local".parse().unwrap(), Vec::new());
        for place in all.iter() {
            let Some(pair) = place.paired_with else { continue };
            assert!(all.iter().any(|other| other.name.as_str() == pair), "{}", place.name);
        }
    }
}
