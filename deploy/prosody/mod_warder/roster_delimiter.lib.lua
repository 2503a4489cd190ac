-- The delimiter of nested groups (XEP-0083): one for all users of a host, because the groups come from one place.
--
-- module:require "roster_delimiter".start(delimiter);

local st = require "util.stanza";

-- Before mod_private, which keeps one for each user.
local priority = 10;

local function is_about_delimiter(query)
	local tag = query.tags[1];
	return #query.tags == 1 and tag.name == "roster" and tag.attr.xmlns == "roster:delimiter";
end

local function start(delimiter)
	module:add_feature("jabber:iq:private");

	module:hook("iq/self/jabber:iq:private:query", function (event)
		local origin, stanza = event.origin, event.stanza;
		if not is_about_delimiter(stanza.tags[1]) then return nil; end
		if stanza.attr.type == "set" then
			origin.send(st.error_reply(stanza, "cancel", "not-allowed", "The delimiter is the same for everybody"));
		else
			origin.send(st.reply(stanza):query("jabber:iq:private")
				:tag("roster", { xmlns = "roster:delimiter" }):text(delimiter):up());
		end
		return true;
	end, priority);
end

return { start = start };
