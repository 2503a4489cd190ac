%%% An asker for the freshness checker: an Erlang node of its own that asks as an Erlang server's hook does, first from the
%%% near cache, else from the workers, and writes down what it was told. What it runs are the very modules that ship. The
%%% history is that of asker.lua, and so are the questions; events are only `connected' and `disconnected'.
%%%
%%% What differs from Lua is what there is to break here: several processes read the near cache at once, many more are
%%% answered at once and store, while one applies the changes.
%%%
%%%   erl -noinput -pa EBIN -run freshness_asker main -extra --nats URL[,URL...] [--OPTION VALUE]...
%%%     --prefix, --name, --seed, --rate, --concurrency, --budget-ms, --bound-ms   as of asker.lua
%%%     --readers   processes that ask (8)
-module(freshness_asker).

-export([main/0, normalise/1]).

-define(USERS, 24).
-define(DOMAINS, 3).
-define(ROOMS, 6).
-define(JOIN_PERCENT, 20).
-define(CHANGES, freshness_changes).
-define(CLIENT, freshness_client).

-record(scene, {
    asker :: warder_ask:asker(),
    budget_ms :: pos_integer(),
    %% Questions to the workers at a time, those under way, those asked, those not asked because of too many.
    concurrency :: pos_integer(),
    numbers :: atomics:atomics_ref(),
    pause_us :: pos_integer(),
    questions :: tuple()
}).

-define(MOST_LATE_US, 50000).

-define(PENDING, 1).
-define(ASKED, 2).
-define(SKIPPED, 3).

-spec main() -> no_return().
main() ->
    Options = options(init:get_plain_arguments(), #{}),
    Number = fun(Name, Default) -> binary_to_integer(maps:get(Name, Options, integer_to_binary(Default))) end,
    #{<<"nats">> := Nats} = Options,
    Name = maps:get(<<"name">>, Options, <<"asker">>),
    Prefix = maps:get(<<"prefix">>, Options, <<"xmpp.policy.v1">>),
    Seed = Number(<<"seed">>, 1),
    Readers = Number(<<"readers">>, 8),
    _ = freshness_history:start_link(),
    ok = freshness_history:write([<<"i">>, freshness_history:micros(), {raw, first_line(Name, Seed)}]),
    %% A broker that was stopped, or that somebody holds, is left for another one after two or three seconds.
    Connection = #{
        servers => Nats, name => Name, inbox => <<"asker">>,
        connect_timeout => 1000, ping_interval => 1000, ping_max => 2, reconnect_min => 20, reconnect_max => 500
    },
    Changes = #{
        client => ?CLIENT, server => Name, prefix => Prefix, normalise => fun ?MODULE:normalise/1,
        bound_ms => Number(<<"bound-ms">>, 2000)
    },
    {ok, _} = warder_sup:start_link({?CLIENT, fun() -> Connection end}, [{?CHANGES, Changes}]),
    Scene = #scene{
        asker = warder_ask:new(#{
            client => ?CLIENT, server => Name, prefix => Prefix, min_seq => fun() -> warder_changes:min_seq(?CHANGES) end
        }),
        budget_ms = Number(<<"budget-ms">>, 250),
        concurrency = Number(<<"concurrency">>, 64),
        numbers = atomics:new(3, []),
        pause_us = max(1, 1000000 * Readers div Number(<<"rate">>, 1000)),
        questions = questions()
    },
    _ = [spawn_link(fun() -> reader(Seed * 1000 + I, Scene) end) || I <- lists:seq(1, Readers)],
    {ok, Status} = warder_nats:listen(?CLIENT),
    {ok, _} = timer:send_interval(1000, stats),
    tell(Status, Scene).

options([Name, Value | Others], Known) ->
    "--" ++ Key = Name,
    options(Others, Known#{list_to_binary(Key) => list_to_binary(Value)});
options([], Known) ->
    Known.

first_line(Name, Seed) ->
    warder_json:encode(#{
        v => 1, name => Name, pid => list_to_binary(os:getpid()), seed => Seed,
        users => ?USERS, domains => ?DOMAINS, rooms => ?ROOMS
    }).

%% The names that the checker gives are in normal form.
-spec normalise(binary()) -> {binary(), binary(), binary()}.
normalise(Jid) ->
    case binary:split(Jid, <<"@">>) of
        [Node, Domain] -> {Node, Domain, <<>>};
        [Domain] -> {<<>>, Domain, <<>>}
    end.

tell(Status, #scene{numbers = Numbers} = Scene) ->
    receive
        stats ->
            Stats = maps:merge(warder_changes:stats(?CHANGES), #{
                asked => atomics:get(Numbers, ?ASKED), skipped => atomics:get(Numbers, ?SKIPPED)
            }),
            Seen = warder_changes:seen(?CHANGES),
            ok = freshness_history:write([<<"s">>, freshness_history:micros(), Seen, {raw, warder_json:encode(Stats)}]);
        {warder_nats, Status, {connected, Info}} ->
            HasJetStream = maps:get(<<"jetstream">>, Info, false),
            ok = freshness_history:write([<<"e">>, freshness_history:micros(), <<"connected">>, <<>>, HasJetStream]);
        {warder_nats, Status, {disconnected, Text}} ->
            ok = freshness_history:write([<<"e">>, freshness_history:micros(), <<"disconnected">>, Text])
    end,
    tell(Status, Scene).

%% Asking. Each reader at his own pace; what a stop or a slow moment has missed is not made up for.

reader(Seed, #scene{pause_us = PauseUs} = Scene) ->
    _ = rand:seed(exsss, Seed),
    timer:sleep(rand:uniform(PauseUs div 1000 + 1)),
    read(freshness_history:micros(), Scene).

read(DueAt, #scene{pause_us = PauseUs} = Scene) ->
    Now = freshness_history:micros(),
    case DueAt > Now of
        true ->
            timer:sleep((DueAt - Now) div 1000 + 1),
            read(DueAt, Scene);
        false ->
            ok = ask(Scene),
            read(max(DueAt, Now - ?MOST_LATE_US) + PauseUs, Scene)
    end.

ask(#scene{questions = Questions, numbers = Numbers} = Scene) ->
    {Name, Operation, Request} = pick(Questions),
    ok = atomics:add(Numbers, ?ASKED, 1),
    AskedAt = freshness_history:micros(),
    Seen = warder_changes:seen(?CHANGES),
    case warder_changes:recall(?CHANGES, Operation, Request) of
        {ok, #{seq := Floor, verdict := Verdict} = Remembered} ->
            Reason = maps:get(reason, Remembered, <<>>),
            freshness_history:write([<<"h">>, Name, AskedAt, Seen, Floor, atom_to_binary(Verdict), Reason]);
        miss ->
            ask_beside(fun() -> ask_workers(Name, Operation, Request, AskedAt, Seen, Scene) end, Scene)
    end.

pick({Stanzas, Joins}) ->
    From = case rand:uniform(100) =< ?JOIN_PERCENT of true -> Joins; false -> Stanzas end,
    element(rand:uniform(tuple_size(From)), From).

ask_beside(Ask, #scene{numbers = Numbers, concurrency = Most}) ->
    case atomics:add_get(Numbers, ?PENDING, 1) > Most of
        true ->
            ok = atomics:sub(Numbers, ?PENDING, 1),
            atomics:add(Numbers, ?SKIPPED, 1);
        false ->
            _ = spawn_link(fun() ->
                ok = Ask(),
                atomics:sub(Numbers, ?PENDING, 1)
            end),
            ok
    end.

ask_workers(Name, Operation, Request, AskedAt, Seen, #scene{asker = Asker, budget_ms = BudgetMs}) ->
    Ticket = warder_changes:ask(?CHANGES, Operation, Request),
    case warder_ask:ask(Asker, Operation, Request, #{budget_ms => BudgetMs}) of
        {ok, Reply} ->
            _ = warder_changes:answered(?CHANGES, Ticket, Reply),
            told(Name, AskedAt, Seen, Reply);
        {error, Failure} ->
            Word = warder_ask:failure_word(Failure),
            freshness_history:write([<<"f">>, Name, AskedAt, freshness_history:micros(), Seen, Word])
    end.

told(Name, AskedAt, Seen, #{verdict := Verdict} = Reply) ->
    Start = [Name, AskedAt, freshness_history:micros(), Seen, maps:get(seq, Reply, 0), atom_to_binary(Verdict)],
    Reason = maps:get(reason, Reply, <<>>),
    case Reply of
        #{degraded := Degraded} ->
            freshness_history:write([<<"d">> | Start] ++ [Reason, Degraded]);
        #{scope := Scope} ->
            AgeMs = maps:get(age_ms, Reply, 0),
            TtlMs = maps:get(ttl_ms, Reply, 0),
            freshness_history:write([<<"a">> | Start] ++ [Reason, AgeMs, TtlMs, atom_to_binary(Scope)])
    end.

%% Each question once, as asker.lua makes it.

questions() ->
    Users = lists:seq(0, ?USERS - 1),
    Stanzas = [stanza_question(I, J) || I <- Users, J <- Users, I =/= J],
    Joins = [join_question(I, K) || I <- Users, K <- lists:seq(0, ?ROOMS - 1)],
    {list_to_tuple(Stanzas), list_to_tuple(Joins)}.

stanza_question(I, J) ->
    {From, To} = {<<(user(I))/binary, "/phone">>, user(J)},
    {text("s~b.~b", [I, J]), stanza_check, #{
        <<"hook">> => <<"send">>, <<"kind">> => <<"message">>, <<"type">> => <<"chat">>, <<"from">> => From, <<"to">> => To,
        <<"stanza">> => text("<message type='chat' from='~s' to='~s'><body>x</body></message>", [From, To])
    }}.

join_question(I, K) ->
    {text("j~b.~b", [I, K]), join_check, #{
        <<"user">> => <<(user(I))/binary, "/phone">>, <<"room">> => text("r~b@rooms~b.test", [K, K rem ?DOMAINS]),
        <<"nick">> => text("u~b", [I]), <<"event">> => <<"join">>, <<"creating">> => false
    }}.

user(I) -> text("u~b@d~b.test", [I, I rem ?DOMAINS]).

text(Format, Parts) -> iolist_to_binary(io_lib:format(Format, Parts)).
