%%% A node with the near cache of the Erlang hooks and nothing else, for tests to talk to: a line on stdin is a command, and
%%% a line on stdout its answer, in order.
%%%
%%%   erl -noshell -pa EBIN -run near_cache_console main -extra NATS-URL BOUND-MS BUDGET-MS
%%%     NUMBER recall FROM TO    what is remembered: {"verdict"} or {"miss":true}
%%%     NUMBER decide FROM TO    the same, or else what the workers say: {"verdict","asked":true} or {"failure"}
%%%     NUMBER state             what the near cache counts, {"seen"}, {"is_counted"}, {"connects"}
%%%     answer: "reply NUMBER JSON"
-module(near_cache_console).

-export([main/0, normalise/1]).

-define(CLIENT, console_client).
-define(CHANGES, console_changes).

-spec main() -> no_return().
main() ->
    [Nats, BoundMs, BudgetMs] = init:get_plain_arguments(),
    Connection = #{
        servers => Nats, name => <<"erlang">>, connect_timeout => 1000, ping_interval => 1000,
        reconnect_min => 20, reconnect_max => 100
    },
    Changes = #{
        client => ?CLIENT, server => <<"node one">>, bound_ms => list_to_integer(BoundMs), normalise => fun ?MODULE:normalise/1
    },
    {ok, _} = warder_sup:start_link({?CLIENT, fun() -> Connection end}, [{?CHANGES, Changes}]),
    %% JSON, which a test can read that stands in for a worker.
    Asker = warder_ask:new(#{client => ?CLIENT, encoding => json, min_seq => fun() -> warder_changes:min_seq(?CHANGES) end}),
    io:put_chars("ready\n"),
    loop(Asker, #{budget_ms => list_to_integer(BudgetMs)}).

%% The names of the tests are in normal form.
-spec normalise(binary()) -> {binary(), binary(), binary()}.
normalise(Jid) ->
    case binary:split(Jid, <<"@">>) of
        [Node, Domain] -> {Node, Domain, <<>>};
        [Domain] -> {<<>>, Domain, <<>>}
    end.

loop(Asker, Options) ->
    case io:get_line("") of
        eof ->
            halt();
        Line ->
            [Number | Command] = [list_to_binary(Word) || Word <- string:lexemes(Line, " \n")],
            io:put_chars(["reply ", Number, $\s, warder_json:encode(obey(Command, Asker, Options)), $\n]),
            loop(Asker, Options)
    end.

obey([<<"recall">>, From, To], _Asker, _Options) ->
    recalled(warder_changes:recall(?CHANGES, stanza_check, request(From, To)));
obey([<<"decide">>, From, To], Asker, Options) ->
    Request = request(From, To),
    case warder_changes:recall(?CHANGES, stanza_check, Request) of
        miss ->
            Ticket = warder_changes:ask(?CHANGES, stanza_check, Request),
            case warder_ask:ask(Asker, stanza_check, Request, Options) of
                {ok, #{verdict := Verdict} = Reply} ->
                    _ = warder_changes:answered(?CHANGES, Ticket, Reply),
                    #{verdict => atom_to_binary(Verdict), asked => true};
                {error, Failure} ->
                    #{failure => warder_ask:failure_word(Failure)}
            end;
        Found ->
            recalled(Found)
    end;
obey([<<"state">>], _Asker, _Options) ->
    #{connects := Connects} = warder_nats:stats(?CLIENT),
    (warder_changes:stats(?CHANGES))#{
        connects => Connects, seen => warder_changes:seen(?CHANGES), is_counted => warder_changes:is_counted(?CHANGES)
    }.

recalled({ok, #{verdict := Verdict}}) -> #{verdict => atom_to_binary(Verdict)};
recalled(miss) -> #{miss => true}.

request(From, To) ->
    #{<<"hook">> => <<"send">>, <<"kind">> => <<"message">>, <<"type">> => <<"chat">>, <<"from">> => From, <<"to">> => To}.
