%%% POST /roster_admin/refresh: the users whose rosters have changed, in batches to the workers, and one sum of their
%%% answers. Knows no HTTP but its status codes.
-module(mod_warder_push_refresh).

-export([parse/2, run/2]).
-export_type([users/0]).

-include("logger.hrl").

-define(BATCH_SIZE, 100).
%% What is longer is no JID, and would cost its whole batch the answer.
-define(MAX_JID_BYTES, 3071).
%% Of one call; of all together see mod_warder_push_turns.
-define(MAX_OUTSTANDING, 4).
%% A worker fetches a whole batch before it answers.
-define(BUDGET_MS, 60000).
%% Of what failed so, more of the same would fail the same way, or late.
-define(HOPELESS, [no_responders, disconnected, timeout]).

-type users() :: #{usable := [binary()], unusable := [binary()]}.
-type sum() :: #{
    updated := non_neg_integer(), errors := non_neg_integer(), failed := #{binary() => binary()}, problem => binary()
}.

%% @doc Of a JSON array of user names of this host, or of bare JIDs.
-spec parse(binary(), Host :: binary()) -> {ok, users()} | {error, Problem :: binary()}.
parse(Body, Host) ->
    case warder_json:decode(Body) of
        {ok, Names} when is_list(Names) -> users(Names, lists:all(fun is_binary/1, Names), Host);
        _ -> wrong_body()
    end.

users(Names, true, Host) ->
    Users = [complete(Name, Host) || Name <- Names],
    {Usable, Unusable} = lists:partition(fun(User) -> byte_size(User) =< ?MAX_JID_BYTES end, Users),
    {ok, #{usable => Usable, unusable => Unusable}};
users(_Names, false, _Host) ->
    wrong_body().

complete(Name, Host) ->
    case binary:match(Name, <<"@">>) of
        nomatch -> <<Name/binary, "@", Host/binary>>;
        _ -> Name
    end.

wrong_body() -> {error, <<"the body must be a JSON array of user names or bare JIDs">>}.

%% @doc Waits until all are refreshed, or it is clear that they will not be.
-spec run(users(), map()) -> mod_warder_http:answer().
run(#{usable := Usable, unusable := Unusable}, Context) ->
    Sum = failed(Unusable, <<"it is too long for a JID">>, #{updated => 0, errors => 0, failed => #{}}),
    {200, answer(go_on(batches(Usable), #{}, Context, Sum))}.

batches(Users) when length(Users) =< ?BATCH_SIZE -> [Users || Users =/= []];
batches(Users) ->
    {Batch, Rest} = lists:split(?BATCH_SIZE, Users),
    [Batch | batches(Rest)].

%% `Outstanding': the batch that each process asks for.
go_on([], Outstanding, _Context, Sum) when Outstanding =:= #{} ->
    Sum;
go_on([Batch | Batches], Outstanding, Context, Sum) when map_size(Outstanding) < ?MAX_OUTSTANDING ->
    {_, Ref} = spawn_monitor(fun() -> exit({answer, ask(Batch, Context)}) end),
    go_on(Batches, Outstanding#{Ref => Batch}, Context, Sum);
go_on(Batches, Outstanding, Context, Sum) ->
    receive
        {'DOWN', Ref, process, _, Reason} when is_map_key(Ref, Outstanding) ->
            {Batch, Others} = maps:take(Ref, Outstanding),
            ok = count(Reason, Context),
            {Left, Settled} = settle(Reason, Batch, Batches, Sum),
            go_on(Left, Others, Context, Settled)
    end.

ask(Batch, #{host := Host} = Context) ->
    Request = #{<<"users">> => Batch, <<"reason">> => <<"admin">>},
    mod_warder_push_turns:in_turn(Host, fun() ->
        mod_warder_decide:fetch(Context, roster_refresh, Request, #{budget_ms => ?BUDGET_MS})
    end).

count({answer, {ok, #{status := Status}}}, Context) ->
    mod_warder_decide:answered(Context, roster_refresh, Status);
count({answer, {error, Failure}}, Context) ->
    mod_warder_decide:failed(Context, roster_refresh, Failure, not_refreshed);
count(_Crash, Context) ->
    mod_warder_decide:failed(Context, roster_refresh, crashed, not_refreshed).

settle({answer, {ok, #{status := Status} = Reply}}, _Batch, Batches, Sum) ->
    #{updated := Updated, errors := Errors, failed := Failed} = Sum,
    Added = Sum#{
        updated := Updated + maps:get(updated, Reply, 0),
        errors := Errors + maps:get(errors, Reply, 0),
        failed := maps:merge(Failed, maps:get(failed, Reply, #{}))
    },
    {Batches, problem(Status, Reply, Added)};
settle({answer, {error, Failure}}, Batch, Batches, Sum) ->
    Word = warder_ask:failure_word(Failure),
    Problem = <<"the workers gave no answer (", Word/binary, "); send it again">>,
    {Lost, Left} =
        case lists:member(Failure, ?HOPELESS) of
            true -> {lists:append([Batch | Batches]), []};
            false -> {Batch, Batches}
        end,
    {Left, failed(Lost, Problem, Sum#{problem => Problem})};
settle(Crash, Batch, Batches, Sum) ->
    ?ERROR_MSG("A refresh of rosters failed: ~0p", [Crash]),
    Problem = <<"this failed; the log says why">>,
    {Batches, failed(Batch, Problem, Sum#{problem => Problem})}.

problem(error, #{message := Message}, Sum) -> maps:merge(#{problem => Message}, Sum);
problem(_Status, _Reply, Sum) -> Sum.

failed(Users, Problem, #{errors := Errors, failed := Failed} = Sum) ->
    Added = maps:from_list([{User, Problem} || User <- Users]),
    Sum#{errors := Errors + length(Users), failed := maps:merge(Failed, Added)}.

-spec answer(sum()) -> #{binary() => warder_json:value()}.
answer(#{updated := 0, errors := Errors} = Sum) when Errors > 0 ->
    answer(<<"error">>, maps:get(problem, Sum, <<"no roster could be had">>), Sum);
answer(Sum) ->
    answer(<<"ok">>, <<"roster update complete">>, Sum).

answer(Status, Message, #{updated := Updated, errors := Errors, failed := Failed}) ->
    Answer = #{<<"status">> => Status, <<"message">> => Message, <<"updated">> => Updated, <<"errors">> => Errors},
    maps:merge(Answer, maps:from_list([{<<"failed">>, Failed} || Errors > 0])).
