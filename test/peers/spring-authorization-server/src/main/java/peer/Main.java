package peer;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.nimbusds.jose.jwk.source.ImmutableJWKSet;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.proc.SecurityContext;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.List;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.core.io.ClassPathResource;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.security.crypto.password.PasswordEncoder;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.server.authorization.JdbcOAuth2AuthorizationConsentService;
import org.springframework.security.oauth2.server.authorization.JdbcOAuth2AuthorizationService;
import org.springframework.security.oauth2.server.authorization.OAuth2AuthorizationConsentService;
import org.springframework.security.oauth2.server.authorization.OAuth2AuthorizationService;
import org.springframework.security.oauth2.server.authorization.client.JdbcRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.settings.AuthorizationServerSettings;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.security.oauth2.server.authorization.settings.TokenSettings;
import org.springframework.security.oauth2.server.authorization.token.JwtEncodingContext;
import org.springframework.security.oauth2.server.authorization.token.OAuth2TokenCustomizer;

/**
 * Runs Spring Authorization Server as its guide says for production: records and clients are in a
 * database (its in-memory services are for development). The columns that it looks tokens up by have an
 * index, which its schema leaves to others.
 */
@SpringBootApplication
public class Main {
  private static final String SCHEMA = "org/springframework/security/oauth2/server/authorization/";

  public static void main(String[] args) {
    SpringApplication.run(Main.class, args);
  }

  /** The tables, with blob as text, which the guide says is needed for PostgreSQL. */
  private static void createTables(JdbcTemplate database) throws IOException {
    for (String name : List.of("oauth2-authorization-schema.sql", "oauth2-authorization-consent-schema.sql", "client/oauth2-registered-client-schema.sql")) {
      String statements = new ClassPathResource(SCHEMA + name).getContentAsString(StandardCharsets.UTF_8);
      database.execute(statements.replaceAll("\\bblob\\b", "text"));
    }
    for (String column : List.of("state", "authorization_code_value", "access_token_value", "refresh_token_value")) {
      database.execute("CREATE INDEX ON oauth2_authorization USING hash (" + column + ")");
    }
  }

  @Bean
  RegisteredClientRepository clients(JdbcTemplate database) throws IOException {
    createTables(database);
    var clients = new JdbcRegisteredClientRepository(database);
    clients.save(RegisteredClient.withId("service").clientId("service").clientSecret("service-secret")
        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
        .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
        .scope("orders:read").build());
    clients.save(RegisteredClient.withId("web").clientId("web").clientSecret("web-secret")
        .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
        .authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE)
        .authorizationGrantType(AuthorizationGrantType.REFRESH_TOKEN)
        .redirectUri(System.getenv("REDIRECT_URI")).scope("openid").scope("orders:read")
        .clientSettings(ClientSettings.builder().requireProofKey(true).requireAuthorizationConsent(false).build())
        .tokenSettings(TokenSettings.builder().idTokenSignatureAlgorithm(SignatureAlgorithm.ES256).build())
        .build());
    return clients;
  }

  @Bean
  OAuth2AuthorizationService authorizations(JdbcTemplate database, RegisteredClientRepository clients) {
    return new JdbcOAuth2AuthorizationService(database, clients);
  }

  @Bean
  OAuth2AuthorizationConsentService consents(JdbcTemplate database, RegisteredClientRepository clients) {
    return new JdbcOAuth2AuthorizationConsentService(database, clients);
  }

  @Bean
  JWKSource<SecurityContext> keys() throws JOSEException {
    return new ImmutableJWKSet<>(new JWKSet(new ECKeyGenerator(Curve.P_256).keyID("es256").generate()));
  }

  @Bean
  OAuth2TokenCustomizer<JwtEncodingContext> signWithES256() {
    return context -> context.getJwsHeader().algorithm(SignatureAlgorithm.ES256);
  }

  /**
   * Secrets are not hashed. By default they are by bcrypt, from their first use on even if they are
   * stored as they are; each request then takes a hundred times what everything else does.
   */
  @Bean
  PasswordEncoder notHashed() {
    return new PasswordEncoder() {
      @Override
      public String encode(CharSequence password) {
        return password.toString();
      }

      @Override
      public boolean matches(CharSequence password, String stored) {
        return MessageDigest.isEqual(password.toString().getBytes(StandardCharsets.UTF_8), stored.getBytes(StandardCharsets.UTF_8));
      }
    };
  }

  @Bean
  AuthorizationServerSettings settings() {
    return AuthorizationServerSettings.builder().issuer(System.getenv("ISSUER")).build();
  }
}
