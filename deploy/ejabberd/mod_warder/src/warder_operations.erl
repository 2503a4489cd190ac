%%% The questions that there are: the one list, with the word of each on the wire.
-module(warder_operations).

-export([all/0, slug/1, from_slug/1, is_repeatable/1, is_check/1]).
-export_type([operation/0]).

-type operation() ::
    stanza_check | join_check | session_check | roster_refresh | roster_set | roster_subscription | user_removed.

-spec all() -> [operation()].
all() ->
    [stanza_check, join_check, session_check, roster_refresh, roster_set, roster_subscription, user_removed].

%% @doc The tail of its subject.
-spec slug(operation()) -> binary().
slug(stanza_check) -> <<"stanza-check">>;
slug(join_check) -> <<"join-check">>;
slug(session_check) -> <<"session-check">>;
slug(roster_refresh) -> <<"roster-refresh">>;
slug(roster_set) -> <<"roster-set">>;
slug(roster_subscription) -> <<"roster-subscription">>;
slug(user_removed) -> <<"user-removed">>.

-spec from_slug(term()) -> {ok, operation()} | error.
from_slug(Slug) ->
    case [Operation || Operation <- all(), slug(Operation) =:= Slug] of
        [Operation] -> {ok, Operation};
        [] -> error
    end.

%% @doc The others carry their id to the application as the mark of one event; a second asking would be a second event.
-spec is_repeatable(operation()) -> boolean().
is_repeatable(Operation) ->
    not lists:member(Operation, [roster_set, roster_subscription, user_removed]).

%% @doc May this pass? Whoever waits for the answer is a client.
-spec is_check(operation()) -> boolean().
is_check(Operation) ->
    lists:member(Operation, [stanza_check, join_check, session_check]).
