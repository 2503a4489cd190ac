%%% One question for one user's roster, and what it counts as where there is no answer. Runs in the asker's process.
-module(mod_warder_roster_ask).

-export([ask/4, succeeded/1, fall_back/3]).
-export_type([answer/0, known/0]).

-define(OPERATION, roster_refresh).

-type answer() :: #{roster := warder_replies:roster(), seq := non_neg_integer(), again_ms => non_neg_integer()}.

%% What was last known, of who has nothing else.
-type known() :: {ok, mod_warder_roster_items:roster()} | none.

%% @doc `Reason' as in the protocol: why it is asked. Takes no longer than the budget of the host, and half a second for
%% the disk where there is no answer, nothing `IsKnown', and what was last known is to serve.
-spec ask(LUser :: binary(), LServer :: binary(), Reason :: binary(), IsKnown :: boolean()) ->
    {ok, answer()} | {error, Failure :: atom(), known()}.
ask(LUser, LServer, Reason, IsKnown) ->
    case ask(LUser, LServer, Reason) of
        {ok, Answer} -> {ok, Answer};
        {error, Failure} when IsKnown -> {error, Failure, none};
        {error, Failure} -> {error, Failure, last_known(LUser, LServer)}
    end.

last_known(LUser, LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{fallback := #{?OPERATION := #{local := last_known}}}}} ->
            mod_warder_roster_known:find(LUser, LServer);
        _ ->
            none
    end.

ask(LUser, LServer, Reason) ->
    Name = <<LUser/binary, "@", LServer/binary>>,
    Verify = fun(Reply) ->
        is_map_key(Name, maps:get(rosters, Reply)) orelse is_map_key(Name, maps:get(failed, Reply, #{}))
    end,
    case mod_warder_hosts:find(LServer) of
        none ->
            {error, disconnected};
        {ok, Context} ->
            Request = #{<<"users">> => [Name], <<"reason">> => Reason},
            read(Name, mod_warder_decide:fetch(Context, ?OPERATION, Request, #{verify => Verify}))
    end.

read(_Name, {error, Failure}) ->
    {error, Failure};
read(Name, {ok, #{rosters := Rosters} = Reply}) ->
    case Rosters of
        #{Name := Roster} ->
            Again = maps:from_list([{again_ms, ceil(Ms)} || {again_ms, Ms} <- maps:to_list(Reply)]),
            {ok, Again#{roster => Roster, seq => maps:get(seq, Reply, 0)}};
        _ ->
            {error, failure(maps:get(Name, maps:get(failed, Reply)))}
    end.

failure(<<"too-large">>) -> too_large;
failure(_) -> source_unavailable.

-spec succeeded(LServer :: binary()) -> ok.
succeeded(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, Context} -> mod_warder_decide:answered(Context, ?OPERATION, ok);
        none -> ok
    end.

%% @doc Counts that there was no answer. Whether the roster that is known, if any, serves instead.
-spec fall_back(LServer :: binary(), Failure :: atom(), IsKnown :: boolean()) -> boolean().
fall_back(LServer, Failure, IsKnown) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{fallback := #{?OPERATION := #{local := Word}}}} = Context} ->
            Taken =
                case IsKnown of
                    true -> Word;
                    false -> error
                end,
            ok = mod_warder_decide:failed(Context, ?OPERATION, Failure, Taken),
            Taken =/= error;
        none ->
            IsKnown
    end.
