-- What a change of an account's roster means to its clients and to its contacts: the presence that each may see from now
-- on, and what it may not see any more (RFC 6121, sections 3 and 4). The roster has been changed before.
--
-- module:require "roster_changes".tell(username, changes, requests)      as roster_state.lib.lua's apply() returns them
--
-- The roster of the contact is refreshed on its own, before or after, here or on another server. Each side does what
-- follows for it alone, and what the other one answers too early is made good by the other's own refresh:
--
--   the contact may see the user      the user's presence is sent. Whether the contact has him already does not matter
--   the user may see the contact      the contact is probed. If it does not know yet that it may answer, it is silent (see
--                                     roster_probes.lib.lua), and sends its presence when it does
--   it may not any more               the contact gets `unavailable` from each of the user's resources
--   he may not any more               his clients get `unavailable` as if from the contact: they would show it as online
--                                     until it happened to say something else, if its own roster is never refreshed

local st = require "util.stanza";

local state = module:require "roster_state";

local host = module.host;

local function has(item, direction)
	return item ~= nil and (item.subscription == direction or item.subscription == "both");
end

local function gains(change, direction)
	return has(change.new, direction) and not has(change.old, direction);
end

local function loses(change, direction)
	return has(change.old, direction) and not has(change.new, direction);
end

local function available_sessions(jid)
	local user, sessions = prosody.bare_sessions[jid], {};
	for _, session in pairs(user and user.sessions or {}) do
		if session.presence then sessions[#sessions + 1] = session; end
	end
	return sessions;
end

local function post(session, stanza)
	prosody.core_post_stanza(session, stanza, true);
end

local function show(session, jid)
	local presence = session.presence;
	presence.attr.to = jid;
	post(session, presence);
	presence.attr.to = nil;
end

-- Of a contact of this Prosody it is known what it has; of any other its bare JID stands for all of it, as in the answer
-- to a probe (RFC 6121, section 4.3.2).
local function hide(session, contact)
	local resources = available_sessions(contact);
	for _, resource in ipairs(resources) do
		session.send(st.presence({ type = "unavailable", from = resource.full_jid, to = session.full_jid }));
	end
	if not prosody.bare_sessions[contact] then
		session.send(st.presence({ type = "unavailable", from = contact, to = session.full_jid }));
	end
end

local function exchange(session, change)
	local jid = change.jid;
	if gains(change, "from") then
		show(session, jid);
	elseif loses(change, "from") then
		post(session, st.presence({ type = "unavailable", from = session.full_jid, to = jid }));
	end
	if gains(change, "to") then
		post(session, st.presence({ type = "probe", from = session.full_jid, to = jid }));
	elseif loses(change, "to") then
		hide(session, jid);
	end
end

local function tell(username, changes, requests)
	state.push(username, changes);
	for _, session in ipairs(available_sessions(username.."@"..host)) do
		for _, change in ipairs(changes) do
			-- A session may go while it is being told.
			if session.presence then exchange(session, change); end
		end
		for _, request in ipairs(requests) do session.send(request); end
	end
end

return { tell = tell };
