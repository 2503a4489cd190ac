%%% The push paths of mod_http_roster_admin and mod_msg_filter on ejabberd's own HTTP port, for applications that call
%%% them there: for which host, who may, and how it is answered. What is behind them is in mod_warder_push_refresh and
%%% mod_warder_push_flush.
%%%
%%%   listen:
%%%     - port: 5280
%%%       module: ejabberd_http
%%%       request_handlers: {/roster_admin: mod_warder_http, /mod_msg_filter: mod_warder_http}
-module(mod_warder_http).

-export([process/2]).

-include("logger.hrl").
-include("ejabberd_http.hrl").

-define(MAX_FLUSH_BYTES, 16384).
-define(MAX_REFRESH_BYTES, 10485760).

-type answer() :: {Code :: 200..503, #{binary() => warder_json:value()}}.
-export_type([answer/0]).

%% @doc `Path' is what follows the path that the handler is configured at: nothing for a flush, `refresh' for rosters.
-spec process(Path :: [binary()], #request{}) -> {200..503, [{binary(), binary()}], binary()}.
process(Path, #request{method = 'POST'} = Request) when Path =:= []; Path =:= [<<"refresh">>] ->
    try
        respond(answer(Path, body(Request), Request))
    catch
        Class:Reason:Stack ->
            ?ERROR_MSG("~ts failed: ~ts", [Request#request.raw_path, mod_warder_fault:text(Class, Reason, Stack)]),
            respond(problem(500, <<"this failed; the log says why">>))
    end;
process(Path, #request{}) when Path =:= []; Path =:= [<<"refresh">>] ->
    {Code, Headers, Body} = respond(problem(405, <<"only POST is served here">>)),
    {Code, [{<<"Allow">>, <<"POST">>} | Headers], Body};
process(_Path, #request{}) ->
    respond(problem(404, <<"nothing is served here">>)).

%% Of what stands in one read of the socket, ejabberd hands over everything.
body(#request{data = Data, length = Length}) ->
    binary:part(Data, 0, min(Length, byte_size(Data))).

-spec answer([binary()], binary(), #request{}) -> answer().
answer([], Body, Request) when byte_size(Body) =< ?MAX_FLUSH_BYTES ->
    Parsed = mod_warder_push_flush:parse(Body),
    guarded(Request, hint(Parsed), fun(Context) ->
        then(Parsed, fun(User) -> mod_warder_push_flush:run(User, Context) end)
    end);
answer([<<"refresh">>], Body, Request) when byte_size(Body) =< ?MAX_REFRESH_BYTES ->
    %% Who may not shall not make anybody read megabytes.
    guarded(Request, none, fun(#{host := Host} = Context) ->
        then(mod_warder_push_refresh:parse(Body, Host), fun(Users) -> mod_warder_push_refresh:run(Users, Context) end)
    end);
answer(_Path, _Body, Request) ->
    guarded(Request, none, fun(_Context) -> problem(413, <<"the body is too long">>) end).

hint({ok, #{host := Host}}) -> Host;
hint({error, _Problem}) -> none.

then({ok, Parsed}, Run) -> Run(Parsed);
then({error, Problem}, _Run) -> problem(400, Problem).

guarded(#request{host = Named} = Request, Hint, Run) ->
    case context([Named, Hint | ejabberd_option:hosts()]) of
        none ->
            problem(503, <<"mod_warder is loaded at no host">>);
        #{settings := #{push_token := Token}} = Context ->
            case mod_warder_push_guard:refusal(Token, Request) of
                none -> Run(Context);
                {Code, Message} -> problem(Code, Message)
            end
    end.

%% Of the host that the request names, else of the one that it is about, else of the first.
context([]) ->
    none;
context([Host | Others]) ->
    case Host =/= none andalso mod_warder_hosts:find(Host) of
        {ok, Context} -> Context;
        _ -> context(Others)
    end.

-spec problem(200..503, binary()) -> answer().
problem(Code, Message) ->
    {Code, #{<<"status">> => <<"error">>, <<"message">> => Message}}.

respond({Code, Answer}) ->
    Challenge = [{<<"WWW-Authenticate">>, <<"Bearer">>} || Code =:= 401],
    {Code, [{<<"Content-Type">>, <<"application/json">>} | Challenge], warder_json:encode(Answer)}.
