%%% The one way through which every check passes: recalled, or asked for and counted, or its fallback when there is no
%%% answer. Never raises, and always comes back with a verdict.
-module(mod_warder_decide).

-export([decide/5, recall/3, place/2, recall/2, ask/5, fetch/4, fallback/4, answered/3, failed/4, guarded/5, side/1, jid/1]).
-export_type([verdict/0, verify/0, place/0]).

-include("logger.hrl").
-include("jid.hrl").

%% A reply, what is remembered of one, or what is done without: the word, and `failure', why.
-type verdict() :: #{
    verdict := mod_warder_options:word() | modify,
    error => warder_replies:stanza_error(),
    notify => binary(),
    stanza => binary(),
    reason => binary(),
    failure => failure(),
    atom() => term()
}.
-type failure() :: warder_ask:failure() | crashed.
-type verify() :: fun((warder_replies:reply()) -> boolean()) | undefined.
%% Where a verdict is remembered; `nowhere': it never is.
-opaque place() :: {warder_operations:operation(), warder_near_cache:place()} | nowhere.
-type side() :: mod_warder_options:side().
-type context() :: mod_warder_hosts:context().

%% @doc Recalled, or else asked for. `Side': whose question it is.
-spec decide(context(), warder_operations:operation(), side(), warder_ask:request(), verify()) -> verdict().
decide(Context, Operation, Side, Request, Verify) ->
    case recall(Context, Operation, Request) of
        {ok, Verdict} -> Verdict;
        miss -> ask(Context, Operation, Side, Request, Verify)
    end.

%% @doc Waits for nothing.
-spec recall(context(), warder_operations:operation(), warder_ask:request()) -> {ok, verdict()} | miss.
recall(#{settings := #{near_cache := true}} = Context, Operation, Request) ->
    recall(Context, place(Operation, Request));
recall(_Context, _Operation, _Request) ->
    miss.

%% @doc For who looks for the same more than once.
-spec place(warder_operations:operation(), warder_ask:request()) -> place().
place(Operation, Request) ->
    try has_normal_jids(Operation, Request) of
        true -> {Operation, warder_near_cache:place(Operation, Request)};
        false -> nowhere
    catch
        Class:Reason:Stack ->
            crash("look for", Operation, Class, Reason, Stack),
            nowhere
    end.

-spec recall(context(), place()) -> {ok, verdict()} | miss.
recall(#{settings := #{near_cache := true}, changes := Changes, stats := Stats}, {Operation, Place}) ->
    try warder_changes:recall(Changes, Place) of
        {ok, #{verdict := Word} = Verdict} ->
            ok = counted(Operation, fun() -> mod_warder_stats:remembered(Operation, Word, Stats) end),
            {ok, Verdict};
        _ ->
            miss
    catch
        Class:Reason:Stack ->
            crash("recall", Operation, Class, Reason, Stack),
            miss
    end;
recall(_Context, _Place) ->
    miss.

-spec ask(context(), warder_operations:operation(), side(), warder_ask:request(), verify()) -> verdict().
ask(Context, Operation, Side, Request, Verify) ->
    guarded(
        Context,
        Operation,
        Side,
        fun() ->
            Ticket = ticket(Context, Operation, Request),
            case send(Context, Operation, Request, with_verify(Verify)) of
                {ok, #{verdict := Word} = Reply} ->
                    _ = warder_changes:answered(maps:get(changes, Context), Ticket, Reply),
                    ok = answered(Context, Operation, Word),
                    Reply;
                {error, Failure} ->
                    fallback(Context, Operation, Side, Failure)
            end
        end,
        fun(Fallback) -> Fallback end
    ).

with_verify(undefined) -> #{};
with_verify(Verify) -> #{verify => Verify}.

ticket(#{settings := #{near_cache := true}, changes := Changes}, Operation, Request) ->
    case has_normal_jids(Operation, Request) of
        true -> warder_changes:ask(Changes, Operation, Request);
        false -> none
    end;
ticket(_Context, _Operation, _Request) ->
    none.

send(#{asker := Asker, settings := #{budgets_ms := Budgets}}, Operation, Request, Options) ->
    warder_ask:ask(Asker, Operation, Request, maps:merge(#{budget_ms => maps:get(Operation, Budgets)}, Options)).

%% @doc For who knows himself what to do without an answer, and counts by {@link answered/3} and {@link failed/4} what
%% came of it. The options are those of warder_ask, and the budget the host's where they name none.
-spec fetch(context(), warder_operations:operation(), warder_ask:request(), map()) ->
    {ok, warder_replies:reply()} | {error, failure()}.
fetch(Context, Operation, Request, Options) ->
    try
        send(Context, Operation, Request, Options)
    catch
        Class:Reason:Stack ->
            crash("ask", Operation, Class, Reason, Stack),
            {error, crashed}
    end.

%% @doc What is done without an answer, counted and reported.
-spec fallback(context(), warder_operations:operation(), side(), failure()) -> verdict().
fallback(#{settings := #{fallback := Fallbacks}} = Context, Operation, Side, Failure) ->
    Word =
        case is_provoked(Failure) of
            true -> deny;
            false -> maps:get(Side, maps:get(Operation, Fallbacks))
        end,
    ok = failed(Context, Operation, Failure, Word),
    #{verdict => Word, failure => Failure}.

%% What a sender can bring about himself must not open the door to him.
is_provoked(Failure) ->
    Failure =:= bad_request orelse Failure =:= too_large.

-spec answered(context(), warder_operations:operation(), Word :: atom()) -> ok.
answered(#{stats := Stats}, Operation, Word) ->
    counted(Operation, fun() -> mod_warder_stats:answered(Operation, Word, Stats) end).

%% @doc There was no answer, so `Taken' was done.
-spec failed(context(), warder_operations:operation(), failure(), Taken :: atom()) -> ok.
failed(#{host := Host, stats := Stats}, Operation, Failure, Taken) ->
    counted(Operation, fun() -> mod_warder_stats:failed(Host, Operation, Failure, Taken, Stats) end).

%% Whatever goes wrong with counting, what was decided holds.
counted(Operation, Count) ->
    try
        Count()
    catch
        Class:Reason:Stack -> crash("count", Operation, Class, Reason, Stack)
    end.

%% @doc For handlers of hooks: ejabberd lets pass what a handler crashes on. What `Do' gives, or, when it crashes,
%% `Otherwise' of the fallback.
-spec guarded(
    context(), warder_operations:operation(), side(), fun(() -> Result), fun((verdict()) -> Result)
) -> Result.
guarded(Context, Operation, Side, Do, Otherwise) ->
    try
        Do()
    catch
        Class:Reason:Stack ->
            crash("decide", Operation, Class, Reason, Stack),
            Otherwise(fallback(Context, Operation, Side, crashed))
    end.

crash(Action, Operation, Class, Reason, Stack) ->
    ?ERROR_MSG("Could not ~s ~ts: ~ts", [
        Action, warder_operations:slug(Operation), mod_warder_fault:text(Class, Reason, Stack)
    ]).

%% @doc Whose question it is: of one of this server or its components, or of another's.
-spec side(jid:jid()) -> side().
side(#jid{lserver = Domain}) ->
    case mod_warder_hosts:find(Domain) =/= none orelse ejabberd_router:is_my_route(Domain) of
        true -> local;
        false -> remote
    end.

%% @doc As questions have it: in normal form, by which changes name it.
-spec jid(jid:jid()) -> binary().
jid(Jid) ->
    jid:encode(jid:tolower(Jid)).

%% Changes name JIDs in normal form, so only such may be remembered, and looked for.
has_normal_jids(stanza_check, #{<<"from">> := From, <<"to">> := To}) -> is_normal(From) andalso is_normal(To);
has_normal_jids(join_check, #{<<"user">> := User, <<"room">> := Room}) -> is_normal(User) andalso is_normal(Room);
has_normal_jids(session_check, #{<<"user">> := User}) -> is_normal(User);
has_normal_jids(_Operation, _Request) -> false.

%% Most need no more than a look: no letter in them has another form.
is_normal(Jid) ->
    is_normal(Jid, Jid).

is_normal(<<Char, Rest/binary>>, Jid) when
    Char >= $a, Char =< $z; Char >= $0, Char =< $9; Char =:= $@; Char =:= $_; Char =:= $-
->
    is_normal(Rest, Jid);
is_normal(<<".", Char, Rest/binary>>, Jid) when Char =/= $/ -> is_normal(<<Char, Rest/binary>>, Jid);
is_normal(<<"/", _/binary>>, _Jid) -> true;
is_normal(<<>>, Jid) -> Jid =/= <<>>;
is_normal(_, Jid) -> is_prepared(Jid).

%% Others take the dot from the end of a domain, where ejabberd leaves it.
is_prepared(Jid) ->
    [Bare | _] = binary:split(Jid, <<"/">>),
    binary:last(<<".", Bare/binary>>) =/= $. andalso is_prepared_bare(Bare).

is_prepared_bare(Bare) ->
    try jid:decode(Bare) of
        #jid{} = Decoded -> jid(Decoded) =:= Bare
    catch
        error:{bad_jid, _} -> false
    end.
