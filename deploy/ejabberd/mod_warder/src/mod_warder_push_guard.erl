%%% Who may push changes: whoever has the bearer token. Without one configured only this machine may, and only when it
%%% speaks for itself: a request that a proxy forwards comes from loopback too.
-module(mod_warder_push_guard).

-export([refusal/2]).

-include("ejabberd_http.hrl").

-define(FORWARDING_HEADERS, [
    <<"forwarded">>, <<"x-forwarded-for">>, <<"x-forwarded-host">>, <<"x-real-ip">>, <<"via">>
]).

-spec refusal(Token :: binary() | undefined, #request{}) -> none | {401 | 403, Message :: binary()}.
refusal(Token, #request{ip = Address, headers = Given}) ->
    Headers = [{string:lowercase(to_binary(Name)), Value} || {Name, Value} <- Given],
    case is_own_machine(Address, Headers) of
        true -> none;
        false -> check(Token, [Value || {<<"authorization">>, Value} <- Headers])
    end.

%% Where a proxy is trusted, the address is what the proxy says; but then one of these headers is there, too.
is_own_machine(Address, Headers) ->
    is_loopback(Address) andalso not lists:any(fun(Name) -> lists:keymember(Name, 1, Headers) end, ?FORWARDING_HEADERS).

is_loopback({{127, _, _, _}, _Port}) -> true;
is_loopback({{0, 0, 0, 0, 0, 0, 0, 1}, _Port}) -> true;
is_loopback({{0, 0, 0, 0, 0, 16#FFFF, High, _Low}, _Port}) -> High bsr 8 =:= 127;
is_loopback(_Other) -> false.

check(undefined, _Authorization) ->
    {403, <<"no push token is configured (push_token), so only this machine itself may push">>};
check(Token, [Authorization]) ->
    case re:run(Authorization, <<"^([A-Za-z]+) +(\\S+) *$">>, [{capture, all_but_first, binary}, dollar_endonly]) of
        {match, [Scheme, Given]} -> check_bearer(string:lowercase(Scheme), Given, Token);
        nomatch -> needed()
    end;
check(_Token, _NoneOrSeveral) ->
    needed().

check_bearer(<<"bearer">>, Given, Token) ->
    %% In a time that tells nothing about where they differ.
    case crypto:hash_equals(crypto:hash(sha256, Given), crypto:hash(sha256, Token)) of
        true -> none;
        false -> {401, <<"the bearer token is wrong">>}
    end;
check_bearer(_Scheme, _Given, _Token) ->
    needed().

needed() ->
    {401, <<"a bearer token is needed: Authorization: Bearer TOKEN">>}.

to_binary(Name) when is_atom(Name) -> atom_to_binary(Name);
to_binary(Name) -> Name.
