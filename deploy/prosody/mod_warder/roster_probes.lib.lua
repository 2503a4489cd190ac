-- Who asks for the presence of a user who may not be seen gets no answer. Prosody would answer `unsubscribed`, which takes
-- the contact out of the asker's roster: but where two users become contacts, one of the two rosters is refreshed first,
-- and its probe finds the other one not knowing of it yet. The other one sends its presence as soon as it does.
--
-- module:require "roster_probes".start();

local jid_bare = require "util.jid".bare;
local jid_node = require "util.jid".node;
local is_contact_subscribed = require "core.rostermanager".is_contact_subscribed;

-- Before mod_presence (0).
local priority = 10;

local function on_presence(event)
	local stanza = event.stanza;
	if stanza.attr.type ~= "probe" or not stanza.attr.to then return nil; end
	local user, contact = jid_bare(stanza.attr.to), jid_bare(stanza.attr.from);
	if user == contact or is_contact_subscribed(jid_node(user), module.host, contact) then return nil; end
	return true;
end

local function start()
	module:hook("presence/bare", on_presence, priority);
	module:hook("presence/full", on_presence, priority);
end

return { start = start };
