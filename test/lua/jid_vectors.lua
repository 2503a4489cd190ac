-- The JID vectors against Prosody itself: what Warder calls the normal form is what Prosody makes of a JID.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;/usr/lib/prosody/?.lua;"..package.path;
package.cpath = "/usr/lib/prosody/?.so;"..package.cpath;
local harness = require "harness";
local test, equal = harness.test, harness.equal;
local jid = require "util.jid";
local json = require "util.json";

local file = assert(io.open(harness.root.."/test/vectors/jids.json"));
local vectors = assert(json.decode(file:read("a")));
file:close();

local function accepted_by_prosody(vector)
	for _, server in ipairs(vector.accepted_by or {}) do
		if server == "prosody" then return true; end
	end
	return false;
end

for _, vector in ipairs(vectors) do
	test(vector.name, function ()
		local node, host, resource = jid.prepped_split(vector.input);
		if vector.invalid then
			equal(host ~= nil, accepted_by_prosody(vector), "accepted");
			return;
		end
		local normal = vector.normal;
		equal({ node or "", host, resource or "" }, { normal.node, normal.domain, normal.resource });
		equal(jid.bare(jid.join(node, host, resource)), normal.bare);
		equal(jid.prep(vector.input), normal.full);
	end);
end

harness.finish();
