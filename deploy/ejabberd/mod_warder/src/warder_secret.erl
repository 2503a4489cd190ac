%%% A secret of the node, for names that are the same as long as it runs and that nobody can guess anything from. It outlives
%%% the processes of this application.
-module(warder_secret).

-export([digest/2]).

%% @doc So many bytes, the same for the same data.
-spec digest(iodata(), pos_integer()) -> binary().
digest(Data, Bytes) ->
    binary:part(crypto:mac(hmac, sha256, secret(), Data), 0, Bytes).

secret() ->
    case persistent_term:get(?MODULE, none) of
        none ->
            Secret = crypto:strong_rand_bytes(32),
            ok = persistent_term:put(?MODULE, Secret),
            Secret;
        Secret ->
            Secret
    end.
