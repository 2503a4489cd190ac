-- user-removed: tells the workers that an account is gone. Nobody waits for the answer.
--
-- module:require "user_removed".start(settings, asker);

local operation = "user-removed";

local function start(settings, asker)
	module:hook_global("user-deleted", function (event)
		if event.host ~= module.host then return; end
		local user = event.username.."@"..event.host;
		if not asker then
			module:log("error", "%s of %s was told to nobody: no connection", operation, user);
			return;
		end
		asker:ask(operation, { user = user }, { budget_ms = settings.budgets_ms[operation] }, function (reply, failure)
			if reply then
				module:log("info", "%s: %s", operation, user);
			else
				module:log("error", "%s of %s failed: %s", operation, user, failure);
			end
		end);
	end);
end

return { start = start };
