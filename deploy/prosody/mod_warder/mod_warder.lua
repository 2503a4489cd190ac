-- Warder: asks policy workers over NATS whether stanzas, joins and sessions may pass, and where rosters are kept.
-- This file puts the parts together; each part's own file says what it does. Options: README.md.

local ask = module:require "ask";
local change_feed = module:require "change_feed";
local connection = module:require "connection";
local decide = module:require "decide";
local join_check = module:require "join_check";
local line = module:require "line";
local push_flush = module:require "push_flush";
local push_paths = module:require "push_paths";
local push_refresh = module:require "push_refresh";
local relations = module:require "relations";
local report = module:require "report";
local roster = module:require "roster";
local roster_delimiter = module:require "roster_delimiter";
local roster_set = module:require "roster_set";
local session_check = module:require "session_check";
local shared_cache = module:require "shared_cache";
local stanza_check = module:require "stanza_check";
local stats = module:require "stats";
local subscriptions = module:require "subscriptions";
local user_removed = module:require "user_removed";
local verdict = module:require "verdict";

local settings = module:require "settings".read();
local is_account_host = module:get_host_type() == "local";

-- Without a connection the hooks stay: what cannot be asked takes its fallback.
local client, release = connection.acquire();
local has_rosters, has_near = settings.roster and is_account_host, shared_cache.is_wanted(settings);
local feed, unfollow, near, forget;
if client and (has_rosters or has_near) then feed, unfollow = change_feed.acquire(client, settings); end
if feed and has_near then near, forget = shared_cache.acquire(feed, settings); end
local knowing = near or feed;
local asker = client and ask.new({
	client = client;
	server = settings.server;
	prefix = settings.prefix;
	encoding = settings.encoding;
	max_stanza_bytes = settings.max_stanza_bytes;
	min_seq = knowing and function () return knowing:min_seq(); end;
}) or nil;

local decider = decide.new(settings, asker, near);
local verdicts = verdict.new(settings);
local waiting_line = line.start();

if settings.checks["stanza-check"] then stanza_check.start(settings, decider, verdicts, waiting_line); end
if settings.checks["join-check"] and not is_account_host then join_check.start(decider, verdicts, waiting_line); end
if settings.checks["session-check"] and is_account_host then session_check.start(decider, verdicts); end
if settings.checks["user-removed"] and is_account_host then user_removed.start(settings, decider, asker); end
local rosters = has_rosters and roster.start(settings, decider, asker, feed) or nil;
if rosters then
	roster_set.start(decider, verdicts, rosters);
	subscriptions.start(relations.new(settings, decider, asker, rosters), verdicts, waiting_line);
	if settings.roster_delimiter then roster_delimiter.start(settings.roster_delimiter); end
end
if settings.push_paths and is_account_host then
	push_paths.start(settings.push_token, {
		refresh = push_refresh.new(decider, asker);
		flush = push_flush.new(client, settings.prefix, settings.encoding);
	});
end

local stop_stats = stats.start(decider, rosters);
local stop_report = client and report.start(client, settings, decider);

function module.save()
	return { logins = rosters and rosters.logins };
end

function module.restore(saved)
	if rosters and saved.logins then rosters:take_over(saved.logins); end
end

function module.unload()
	stop_stats();
	if stop_report then stop_report(); end
	if rosters then rosters:stop(); end
	if forget then forget(); end
	if unfollow then unfollow(); end
	if release then release(); end
end
