// Resolves the names in a hosts file of the test's own, as the system does those in /etc/hosts.
//
// Loaded by Node before the client starts (NODE_OPTIONS=--require), so that the clients run
// unmodified and the machine's own hosts file stays untouched. The file is written by
// `custody trust hosts`.
"use strict";

const dns = require("node:dns");
const { readFileSync } = require("node:fs");

const system = dns.lookup;

function address(host) {
  for (const line of readFileSync(process.env.CUSTODY_TEST_HOSTS, "utf8").split("\n")) {
    const [address, ...names] = line.split("#", 1)[0].trim().split(/\s+/);
    if (names.includes(host)) return address;
  }
  return host;
}

dns.lookup = (host, ...rest) => system(address(host), ...rest);
